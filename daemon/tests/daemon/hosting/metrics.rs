//! The owner's monitoring reads a daemon's figures, with a parser as strict as the format.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use super::daemon::{Router, free_tcp_port, line, wait_until};
use super::web::ask;

type Labels = BTreeMap<String, String>;

/// Reads a page in the text format 0.0.4: each figure once, its HELP and TYPE before its lines, every name, label and
/// value as they may be, no line twice, and a line feed at the end.
fn parse(page: &str) -> BTreeMap<String, Vec<(Labels, f64)>> {
    assert!(page.ends_with('\n') && !page.contains("\n\n") && !page.contains('\r'));
    let is_name = |name: &str| {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
        name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
    };
    let mut families: BTreeMap<String, Vec<(Labels, f64)>> = BTreeMap::new();
    let mut helped = String::new();
    let mut current = (String::new(), String::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.trim().is_empty(), "{line}");
            assert!(!families.contains_key(name), "twice: {line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped, "the type follows the help: {line}");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            families.insert(name.to_owned(), Vec::new());
            current = (name.to_owned(), kind.to_owned());
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (name, labels, value) = sample(line);
            assert_eq!(
                name, current.0,
                "a line belongs to the figure before it: {line}"
            );
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(
                value.is_finite() && (current.1 == "gauge" || value >= 0.0),
                "{line}"
            );
            let family = families.get_mut(&name).unwrap();
            assert!(
                family.iter().all(|(known, _)| *known != labels),
                "twice: {line}"
            );
            family.push((labels, value));
        }
    }
    for (name, samples) in &families {
        assert!(!samples.is_empty(), "{name} has no line");
        let names: BTreeSet<Vec<&String>> = samples
            .iter()
            .map(|(labels, _)| labels.keys().collect())
            .collect();
        assert_eq!(names.len(), 1, "{name}: all lines have the same labels");
    }
    families
}

fn sample(line: &str) -> (String, Labels, &str) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            let is_label = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            assert!(
                is_label && !label.starts_with("__") && !label.is_empty(),
                "{line}"
            );
            let mut value = String::new();
            let mut chars = after.char_indices();
            let close = loop {
                match chars.next().unwrap() {
                    (_, '\\') => match chars.next().unwrap().1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        c => panic!("\\{c}: {line}"),
                    },
                    (at, '"') => break at,
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = &after[close + 1..];
            match rest.as_bytes()[0] {
                b',' => rest = &rest[1..],
                b'}' => break,
                _ => panic!("{line}"),
            }
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap();
    assert!(!value.contains(' '), "no time stamps: {line}");
    (name.to_owned(), labels, value)
}

#[test]
fn figures_are_served_to_the_owner_alone_and_every_line_is_as_the_format_says() {
    let parent = tempfile::tempdir().unwrap();
    let (port, token) = (free_tcp_port(), parent.path().join("token"));
    std::fs::write(&token, "a-token-of-the-owner\n").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let configs = line(2);
    let metrics = format!(
        "{}[metrics]\nlisten = \"127.0.0.1:{port}\"\ntoken_file = \"{}\"\n",
        configs[0],
        token.display()
    );
    let host = Router::start(&parent.path().join("a"), "A", &metrics);
    let near = Router::start(&parent.path().join("b"), "B", &configs[1]);
    host.say(&["space", "create", "Garden club", "--visible"]);
    host.say(&["space", "create", "Pond"]);
    host.say(&["space", "set", "pond", "--closed", "yes"]);
    wait_until("the two are linked", || {
        near.ask(&["status"])["neighbours"] == 1 && host.ask(&["status"])["neighbours"] == 1
    });
    let bearer = ("Authorization", "Bearer a-token-of-the-owner");
    let get = |path: &str, headers: &[(&str, &str)]| ask(port, "any", "GET", path, headers, "");
    assert_eq!(get("/metrics", &[]).status, 401);
    assert_eq!(
        get(
            "/metrics",
            &[("Authorization", "Bearer a-token-of-the-owneR")]
        )
        .status,
        401
    );
    assert_eq!(get("/", &[bearer]).status, 404);
    assert_eq!(
        ask(port, "any", "POST", "/metrics", &[bearer], "").status,
        405
    );
    let page = ask(
        host.web,
        &format!("127.0.0.1:{}", host.web),
        "GET",
        "/metrics",
        &[bearer],
        "",
    );
    assert_eq!(page.status, 404, "never on the people's page");

    let answer = get("/metrics", &[bearer]);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let families = parse(&answer.text());
    let value = |name: &str, wanted: &[(&str, &str)]| {
        let samples = &families.get(name).unwrap_or_else(|| panic!("{name}"));
        let fits = |labels: &Labels| {
            wanted
                .iter()
                .all(|(label, text)| labels.get(*label).is_some_and(|found| found == text))
        };
        samples
            .iter()
            .find(|(labels, _)| fits(labels))
            .unwrap_or_else(|| panic!("{name} {wanted:?}"))
            .1
    };
    assert_eq!(value("warren_mesh_neighbours", &[]), 1.0);
    assert_eq!(value("warren_neighbour_up", &[]), 1.0);
    assert!(value("warren_mesh_links_total", &[("kind", "made")]) >= 1.0);
    assert_eq!(value("warren_spaces", &[]), 2.0);
    assert_eq!(value("warren_space_open", &[("space", "pond")]), 0.0);
    assert_eq!(value("warren_space_open", &[("space", "garden-club")]), 1.0);
    assert_eq!(
        value("warren_space_channels", &[("space", "garden-club")]),
        1.0
    );
    assert!(value("warren_space_bytes", &[("space", "garden-club")]) > 0.0);
    assert_eq!(value("warren_sites", &[]), 0.0);
    assert_eq!(value("warren_home_accounts", &[]), 0.0);
    assert_eq!(value("warren_home_feed_bytes", &[]), 0.0);
    assert!(value("warren_home_feed_max_bytes", &[]) > 0.0);
    assert!(value("process_resident_memory_bytes", &[]) > 1e6);
    assert!(value("process_open_fds", &[]) > 3.0);
    // What was counted only grows.
    let later = parse(&get("/metrics", &[bearer]).text());
    for (name, samples) in &families {
        for (labels, before) in samples.iter().filter(|_| name.ends_with("_total")) {
            let after = later[name]
                .iter()
                .find(|(known, _)| known == labels)
                .unwrap()
                .1;
            assert!(after >= *before, "{name}");
        }
    }
}

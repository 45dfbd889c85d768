//! A folder is published as a site, and read at another home.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::daemon::{Router, links, wait_until};
use super::web::{Answer, ask, get};

fn folder(parent: &Path) -> std::path::PathBuf {
    let folder = parent.join("Recipes");
    std::fs::create_dir_all(folder.join("soups/old")).unwrap();
    std::fs::create_dir(folder.join("empty")).unwrap();
    std::fs::create_dir(folder.join(".git")).unwrap();
    std::fs::write(
        folder.join("index.html"),
        "<script src=a.js></script>Soup & more",
    )
    .unwrap();
    std::fs::write(folder.join("soups/index.html"), "all soups").unwrap();
    std::fs::write(folder.join("soups/old/bean soup.txt"), "beans").unwrap();
    std::fs::write(folder.join(".git/config"), "secret").unwrap();
    std::fs::write(folder.join("large.bin"), [b'x'; 300_000]).unwrap();
    std::fs::write(parent.join("secret"), "secret").unwrap();
    symlink(parent.join("secret"), folder.join("out")).unwrap();
    folder
}

/// Reads a site by its own address at a home.
fn read(home: &Router, service: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let host = format!("{service}.localhost:{}", home.web);
    ask(home.web, &host, "GET", path, headers, "")
}

#[tokio::test]
async fn a_folder_is_published_and_read_at_another_home() {
    let parent = tempfile::tempdir().unwrap();
    let (a, b) = links();
    let near = Router::start(&parent.path().join("a"), "A", &a);
    let mut host = Router::start(&parent.path().join("b"), "B", &b);
    let folder = folder(parent.path());
    let path = folder.to_str().unwrap();
    let said = host.say(&["site", "publish", path]);
    assert!(
        said.contains("Recipes is published") && said.contains("2 names were left out"),
        "{said}"
    );
    let site = host.ask(&["site", "list"])[0].clone();
    assert_eq!(
        (&site["id"], &site["files"]),
        (&"recipes".into(), &4.into())
    );
    let service = site["service"].as_str().unwrap().to_owned();
    wait_until("the neighbour hears of it", || {
        near.ask(&["sites"])[0]["title"] == "Recipes"
    });
    assert!(
        near.ask(&["spaces"]).as_array().unwrap().is_empty(),
        "it is no space"
    );
    let first = get(near.web, "/", &[]).text();
    assert!(
        first.contains("Sites to read") && first.contains(&format!("/s/{service}/")),
        "{first}"
    );

    let page = read(&near, &service, "/", &[]);
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8".into())
    );
    assert!(page.text().contains("Soup & more"));
    let policy = page.header("content-security-policy");
    assert_eq!(
        policy.matches("default-src 'self'").count(),
        2,
        "of the site, and of this home: {policy}"
    );
    assert!(
        policy.contains("form-action 'self'") && policy.contains("sandbox"),
        "{policy}"
    );
    for (path, status, text) in [
        ("/soups/", 200, "all soups"),
        ("/soups/old/bean%20soup.txt", 200, "beans"),
        ("/soups?x=1", 301, ""),
        ("/empty/", 404, ""),
        ("/soups/old/", 404, ""),
        ("/out", 404, ""),
        ("/.git/config", 404, ""),
        ("/%2e%2e/secret", 404, ""),
        ("/soups/..%2f..%2fsecret", 404, ""),
    ] {
        let answer = read(&near, &service, path, &[]);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(
            answer.text().contains(text) && !answer.text().contains("secret"),
            "{path}"
        );
    }
    assert_eq!(
        read(&near, &service, "/soups?x=1", &[]).header("location"),
        "/soups/?x=1"
    );

    // Conditions and ranges.
    let whole = read(&near, &service, "/large.bin", &[]);
    assert_eq!(whole.body.len(), 300_000);
    let (tag, date) = (whole.header("etag"), whole.header("last-modified"));
    for (name, value, status, length) in [
        ("If-None-Match", tag.as_str(), 304, 0),
        ("If-None-Match", "\"other\"", 200, 300_000),
        ("If-Modified-Since", &date, 304, 0),
        ("Range", "bytes=10-19", 206, 10),
        ("Range", "bytes=-5", 206, 5),
        ("Range", "bytes=299999-", 206, 1),
        ("Range", "bytes=300000-", 416, 27),
        ("Range", "bytes=0-1,5-6", 200, 300_000),
    ] {
        let answer = read(&near, &service, "/large.bin", &[(name, value)]);
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, length),
            "{name}: {value}"
        );
    }
    let stale = [("Range", "bytes=0-9"), ("If-Range", "\"other\"")];
    assert_eq!(read(&near, &service, "/large.bin", &stale).status, 200);
    let host_name = format!("{service}.localhost:{}", near.web);
    let head = ask(near.web, &host_name, "HEAD", "/large.bin", &[], "");
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, "300000".into(), 0)
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(near.web, &host_name, method, "/index.html", &[], "");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, "GET, HEAD".into()),
            "{method}"
        );
    }

    // Below the home's own address it is a page of nobody, and a browser on this machine is sent to its own address.
    let confined = get(near.web, &format!("/s/{service}/"), &[]);
    let policy = confined.header("content-security-policy");
    assert!(
        confined.status == 200 && policy.starts_with("sandbox allow-popups"),
        "{policy}"
    );
    assert!(
        !policy.contains("script") && !policy.contains("same-origin"),
        "{policy}"
    );
    let slash = get(near.web, &format!("/s/{service}/soups"), &[]);
    assert_eq!(slash.header("location"), format!("/s/{service}/soups/"));
    let sent = ask(
        near.web,
        &format!("localhost:{}", near.web),
        "GET",
        &format!("/s/{service}/soups/?a"),
        &[],
        "",
    );
    assert_eq!(
        sent.header("location"),
        format!("http://{host_name}/soups/?a")
    );

    // What changes in the folder is seen after an update, at once and as a whole, also after a kill.
    std::fs::write(folder.join("soups/index.html"), "new soups").unwrap();
    std::fs::write(folder.join("404.html"), "not on the menu").unwrap();
    assert_eq!(read(&near, &service, "/soups/", &[]).text(), "all soups");
    host.say(&["site", "update", "Recipes", "--name", "Soups"]);
    host.kill();
    host.run();
    wait_until("the neighbour reads the new one", || {
        read(&near, &service, "/soups/", &[]).text() == "new soups"
    });
    let missing = read(&near, &service, "/none", &[]);
    assert_eq!(
        (missing.status, missing.text().as_str()),
        (404, "not on the menu")
    );
    wait_until("and hears the new name", || {
        near.ask(&["sites"])[0]["title"] == "Soups"
    });
    let copies = std::fs::read_dir(host.dir.join("sites/recipes")).unwrap();
    let names: Vec<_> = copies.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names.iter().any(|name| name == "pages-2") && !names.iter().any(|name| name == "pages-1"),
        "{names:?}"
    );

    let mut hide = vec!["site", "update", "recipes", "--settings-only"];
    hide.extend(["--visible", "no"]);
    let error = host.refused(&hide);
    assert!(error.contains("--yes"), "{error}");
    assert_eq!(host.ask(&["sites"])[0]["service"], *service);
    hide.push("--yes");
    let hidden = host.ask(&hide);
    let here = format!(
        "http://{}.localhost:{}/",
        hidden["service"].as_str().unwrap(),
        host.web
    );
    assert_eq!(hidden["here"], here);
    assert_ne!(hidden["service"], *service);
    wait_until("the neighbour forgets it", || {
        near.ask(&["sites"]).as_array().unwrap().is_empty()
    });
    let own = hidden["service"].as_str().unwrap();
    assert_eq!(
        read(&host, own, "/soups/", &[]).text(),
        "new soups",
        "at home it is there"
    );
    host.say(&["site", "remove", "recipes"]);
    assert_eq!(read(&host, own, "/", &[]).status, 502);
    assert!(folder.join("index.html").exists(), "the folder stays");
    assert_eq!(
        std::fs::read_dir(host.dir.join("sites")).unwrap().count(),
        0
    );
}

#[test]
fn what_cannot_be_published_is_refused_and_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let folder = folder(parent.path());
    let path = folder.to_str().unwrap();
    let empty = folder.join("empty");
    for (words, reason) in [
        (&["site", "publish", "/nowhere/at/all"][..], "No such file"),
        (
            &["site", "publish", empty.to_str().unwrap()],
            "no file to publish",
        ),
        (&["site", "publish", path, "--name", ""], "name"),
        (&["site", "publish", path, "--port", "80"], "port"),
        (&["site", "publish"], "needs a folder"),
        (&["site", "update", "nowhere"], "there is no site"),
        (
            &["site", "update", "x", "--settings-only", "--from", path],
            "--settings-only",
        ),
        (&["site", "dance"], "needs one of"),
    ] {
        let error = host.refused(words);
        assert!(error.contains(reason), "{words:?}: {error}");
    }
    let left = std::fs::read_dir(host.dir.join("sites")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing half-done stays");
}

#[test]
fn what_holds_the_keys_of_a_box_is_not_published() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let folder = folder(parent.path());
    let backup = parent.path().join("backups/box");
    host.say(&["backup", backup.to_str().unwrap()]);
    std::fs::write(host.dir.join("home/index.html"), "x").unwrap();
    symlink(&host.dir, parent.path().join("link")).unwrap();
    let link = parent.path().join("link");
    let refused = |words: &[&str], dir: &Path, what: &str| {
        let error = host.refused(&[words, &[dir.to_str().unwrap()]].concat());
        assert!(
            error.contains("secret keys") && error.contains(what),
            "{dir:?}: {error}"
        );
    };
    let all: [(&Path, &str); 7] = [
        (&host.dir, "`state`"),
        (&host.dir.join("home"), "`state`"),
        (&link, "`state`"),
        (parent.path(), "`state`"),
        (&backup, "a backup"),
        (&backup.join("objects"), "a backup"),
        (&parent.path().join("backups"), "a backup"),
    ];
    for (dir, what) in all {
        refused(&["site", "publish"], dir, what);
    }
    host.say(&["site", "publish", folder.to_str().unwrap()]);
    for (dir, what) in all {
        refused(&["site", "update", "recipes", "--from"], dir, what);
    }
    assert_eq!(host.ask(&["site", "list"]).as_array().unwrap().len(), 1);
    let left = std::fs::read_dir(host.dir.join("sites")).unwrap();
    assert_eq!(left.count(), 1, "no copy is left");

    // Names that look like others are none.
    let path = folder.to_str().unwrap();
    let error = host.refused(&["site", "publish", path, "--name", "a\u{202e}b"]);
    assert!(error.contains("name: expected"), "{error}");
    let error = host.refused(&["site", "update", "recipes", "--name", "a\u{202e}b"]);
    assert!(error.contains("name: expected"), "{error}");
}

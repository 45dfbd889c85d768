//! A wrong configuration says file, line, column, what was found and what was expected.

use std::path::Path;

use warrend::config::{self, Mode, template};

const RIGHT: &str = r#"version = 1
name = "A"

[[mesh.interface]]
name = "mesh0"
throughput = "100M"

[mesh.udp]
listen = "[::]:4242"
peers = ["[::1]:4243"]

[network]
mode = "userspace"
open = ["tcp/5201", "udp/5201", "all"]

[web]
listen = ["127.0.0.1:8080", "unix:/run/warren/http.sock"]

[[space]]
id = "garden"
name = "Garden club"
visible = true
port = 7447
"#;

fn error_of(text: &str) -> String {
    config::parse(Path::new("warren.toml"), text)
        .expect_err("this configuration is wrong")
        .to_string()
}

/// Replaces a piece of the right configuration and returns the error.
fn broken(from: &str, to: &str) -> String {
    assert!(RIGHT.contains(from), "{from}");
    error_of(&RIGHT.replacen(from, to, 1))
}

#[test]
fn the_example_is_right() {
    let config = config::parse(Path::new("warren.toml"), RIGHT).unwrap();
    assert_eq!(config.network.mode, Mode::Userspace);
    assert_eq!(config.mesh.interface[0].throughput.unwrap().0, 100_000);
    assert_eq!(config.space[0].port.get_ref().get(), 7447);
}

#[test]
fn an_unknown_key_is_an_error_with_its_place_and_the_known_ones() {
    let error = broken("throughput =", "speed =");
    assert!(error.starts_with("warren.toml:6:1: "), "{error}");
    assert!(
        error.contains("`speed`") && error.contains("`throughput`"),
        "{error}"
    );
}

#[test]
fn a_wrong_value_says_what_was_found_and_expected() {
    for (from, to, place, found, expected) in [
        ("\"100M\"", "\"fast\"", "6:14", "\"fast\"", "\"100M\""),
        (
            "\"[::]:4242\"",
            "\"[::]\"",
            "9:10",
            "\"[::]\"",
            "IP address and a port",
        ),
        (
            "\"[::1]:4243\"",
            "\"localhost:1\"",
            "10:9",
            "\"localhost:1\"",
            "IP address",
        ),
        ("\"tcp/5201\"", "\"tcp/0\"", "14:8", "\"tcp/0\"", "tcp/PORT"),
        (
            "\"unix:/run",
            "\"unix:run",
            "17:10",
            "unix:run",
            "unix:/PATH",
        ),
        ("\"garden\"", "\"../etc\"", "20:6", "\"../etc\"", "a-z"),
        (
            "\"mesh0\"",
            "\"a/b\"",
            "5:8",
            "\"a/b\"",
            "network interface",
        ),
        (
            "name = \"A\"",
            "name = \"\"",
            "2:8",
            "\"\"",
            "1 to 32 bytes",
        ),
        (
            "version = 1",
            "version = 2",
            "1:11",
            "version 2",
            "expected 1",
        ),
        ("\"userspace\"", "\"vpn\"", "13:8", "vpn", "`userspace`"),
        (
            "port = 7447",
            "port = 7447\nowner = \"xyz\"",
            "24:9",
            "\"xyz\"",
            "64 hexadecimal",
        ),
        (
            "name = \"A\"",
            "name = \"A\"\nstate = \"\"",
            "3:9",
            "empty",
            "directory",
        ),
        ("name = \"A\"", "name = \"  \"", "2:8", "\"  \"", "1 to 32"),
        ("7447", "0", "23:8", "0", "nonzero"),
        ("[::1]:4243", "[::1]:0", "10:9", "[::1]:0", "other than 0"),
        (
            "[::1]:4243",
            "[ff02::1]:7",
            "10:9",
            "ff02::1",
            "one machine",
        ),
        (
            "\"unix:/run/warren/http.sock\"",
            "\"127.0.0.1:8080\"",
            "17:29",
            "a second time",
            "each once",
        ),
        (
            "\"[::1]:4243\"",
            "\"[::1]:4243\", \"[::1]:4243\"",
            "10:24",
            "a second time",
            "each once",
        ),
        (
            "\"userspace\"",
            "\"tun\"\ntun = \"mesh0\"",
            "5:8",
            "mesh0",
            "TUN device",
        ),
        (
            "visible = true",
            "visible = 1",
            "22:11",
            "integer `1`",
            "boolean",
        ),
    ] {
        let error = broken(from, to);
        assert!(
            error.starts_with(&format!("warren.toml:{place}: ")),
            "{to}: {error}"
        );
        assert!(error.contains(found), "{to}: {error}");
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn a_broken_line_and_a_missing_key_are_named() {
    let error = broken("mode = \"userspace\"", "mode = \"userspace");
    assert!(error.starts_with("warren.toml:13:"), "{error}");
    let error = broken("name = \"A\"\n", "");
    assert!(error.contains("missing field `name`"), "{error}");
}

#[test]
fn the_same_interface_space_or_port_twice_is_an_error_at_the_second() {
    let twice = format!("{RIGHT}\n[[space]]\nid = \"garden\"\nname = \"B\"\nport = 1\n");
    let error = error_of(&twice);
    assert!(error.starts_with("warren.toml:26:6: "), "{error}");
    let twice = format!("{RIGHT}\n[[space]]\nid = \"b\"\nname = \"B\"\nport = 7447\n");
    assert!(error_of(&twice).starts_with("warren.toml:28:8: "));
}

#[test]
fn more_visible_spaces_than_the_island_can_be_told_of_are_an_error_at_the_first_too_many() {
    let mut text = String::from(RIGHT);
    for number in 1..=8 {
        text += &format!(
            "[[space]]\nid = \"s{number}\"\nname = \"S\"\nport = {number}\nvisible = true\n"
        );
    }
    let error = error_of(&text);
    assert!(error.contains("more than 8 visible spaces"), "{error}");
    let line = text.lines().position(|line| line == "id = \"s8\"").unwrap() + 1;
    assert!(
        error.starts_with(&format!("warren.toml:{line}:")),
        "{error}"
    );
    config::parse(
        Path::new("x"),
        &text.replacen("visible = true", "visible = false", 1),
    )
    .unwrap();
}

#[test]
fn figures_are_not_for_everybody_and_backups_have_a_place_and_a_time() {
    let with = |more: &str| format!("{RIGHT}\n{more}\n");
    for (more, expected) in [
        ("[metrics]\nlisten = \"0.0.0.0:9464\"", "a `token_file`"),
        (
            "[metrics]\nlisten = \"[2001:db8::1]:9464\"",
            "a `token_file`",
        ),
        ("[metrics]\ntoken_file = \"/x\"", "missing field `listen`"),
        ("[backup]\ndir = \"here\"\nevery = \"daily\"", "from / on"),
        ("[backup]\ndir = \"/x\"\nevery = \"hourly\"", "`daily`"),
        ("[backup]\ndir = \"/x\"", "missing field `every`"),
    ] {
        let error = error_of(&with(more));
        assert!(error.contains(expected), "{more}: {error}");
    }
    for more in [
        "[metrics]\nlisten = \"0.0.0.0:9464\"\ntoken_file = \"/x\"",
        "[metrics]\nlisten = \"[::1]:9464\"",
        "[metrics]\nlisten = \"unix:/run/figures\"",
        "[backup]\ndir = \"/x\"\nevery = \"weekly\"",
    ] {
        let parsed = config::parse(Path::new("warren.toml"), &with(more));
        assert!(parsed.is_ok(), "{more}: {parsed:?}");
    }
}

#[test]
fn columns_count_characters() {
    let error = error_of("version = 1\nname = \"ä\" x\n");
    assert!(error.starts_with("warren.toml:2:12: "), "{error}");
}

#[test]
fn what_init_writes_is_right_whatever_the_values_hold() {
    for name in ["A", "quote\" and \\ back", "]\n[x", "'''", "ünï"] {
        let text = template::render(&template::Answers {
            name: if name.contains('\n') { "plain" } else { name },
            state: Path::new("/tmp/with \"quotes\"\nand lines"),
            socket: Path::new("/tmp/control.sock"),
            mode: Mode::Tun,
            interfaces: &[String::from("eth0"), String::from("mesh\"0")],
        });
        let config = config::parse(Path::new("x"), &text).unwrap();
        assert_eq!(config.state, Path::new("/tmp/with \"quotes\"\nand lines"));
        assert_eq!(config.mesh.interface[1].name.get_ref().0, "mesh\"0");
    }
}

mod any_bytes {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_panic(text in ".{0,400}", cut in 0_usize..400) {
            let _ = config::parse(Path::new("x"), &text);
            let mut end = cut.min(RIGHT.len());
            while !RIGHT.is_char_boundary(end) { end -= 1; }
            let _ = config::parse(Path::new("x"), &format!("{}{text}", &RIGHT[..end]));
        }
    }
}

#[test]
fn relays_of_the_internet_are_off_checked_and_few() {
    let none = config::parse(Path::new("warren.toml"), RIGHT).unwrap();
    assert!(none.feed.relays.is_empty());
    let with = |feed: &str| RIGHT.replacen("[[space]]", &format!("[feed]\n{feed}\n\n[[space]]"), 1);
    let parse = |feed: &str| config::parse(Path::new("warren.toml"), &with(feed));
    let wrong = |feed: &str| parse(feed).expect_err("this is wrong").to_string();
    let line = with("").lines().position(|line| line == "[feed]").unwrap() + 2;
    let error = wrong("relays = [\"https://relay.example\"]");
    assert!(
        error.starts_with(&format!("warren.toml:{line}:")),
        "{error}"
    );
    assert!(
        error.contains("found \"https://relay.example\", expected the address of a relay"),
        "{error}"
    );
    assert!(wrong("relay = []").contains("`relays`"));
    #[cfg(feature = "uplink")]
    {
        let right = parse(
            "relays = [\"wss://relay.example\", \"ws://[::1]:7777/x\"]\nca_file = \"/etc/ca.pem\"",
        );
        let uplink = right.unwrap().feed.uplink();
        assert_eq!(uplink.relays[0].as_str(), "wss://relay.example/");
        assert_eq!(uplink.relays[1].port(), 7777);
        assert!(uplink.ca_file.is_some());
        let list = |count: usize| {
            let relays: Vec<String> = (0..count)
                .map(|n| format!("\"wss://r{n}.example\""))
                .collect();
            format!("relays = [{}]", relays.join(", "))
        };
        assert!(parse(&list(8)).is_ok());
        let error = wrong(&list(9));
        assert!(error.contains("more than 8 relays"), "{error}");
        let error = wrong("relays = [\"wss://r.example\", \"wss://R.example:443/\"]");
        assert!(error.contains("this relay a second time"), "{error}");
        let error = wrong("relays = []\nca_file = \"ca.pem\"");
        assert!(error.contains("a path from / on"), "{error}");
        let alone = with(&list(1)).replace(
            "listen = [\"127.0.0.1:8080\", \"unix:/run/warren/http.sock\"]",
            "",
        );
        let error = error_of(&alone);
        assert!(error.contains("expected `listen` in [web]"), "{error}");
    }
    #[cfg(not(feature = "uplink"))]
    {
        let error = wrong("relays = [\"wss://relay.example\"]");
        assert!(
            error.contains("built without the feature `uplink`"),
            "{error}"
        );
    }
}

#[test]
fn a_relative_directory_is_an_error_where_it_stands() {
    for (table, more) in [("[backup]", ""), ("[[export]]", "space = \"garden\"\n")] {
        let text =
            format!("{RIGHT}\n#{table}\n\n{table}\nevery = \"daily\"\n{more}dir = \"here\"\n");
        let line = text.lines().count();
        let error = error_of(&text);
        let place = format!("warren.toml:{line}:7: ");
        assert!(error.starts_with(&place), "{error}");
        assert!(
            error.contains("\"here\"") && error.contains("from / on"),
            "{error}"
        );
    }
}

#[test]
fn the_same_export_twice_is_an_error_at_the_second() {
    let export = |space: &str, dir: &str| {
        format!("\n[[export]]\nspace = \"{space}\"\ndir = \"{dir}\"\nevery = \"daily\"\n")
    };
    let (one, same) = (export("garden", "/x"), export("garden", "/x/"));
    for other in [export("garden", "/y"), export("pond", "/x")] {
        config::parse(Path::new("x"), &format!("{RIGHT}{one}{other}")).unwrap();
    }
    let line = format!("{RIGHT}{one}").lines().count() + 2;
    let error = error_of(&format!("{RIGHT}{one}{same}"));
    assert!(
        error.starts_with(&format!("warren.toml:{line}:")),
        "{error}"
    );
    assert!(error.contains("a second time"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_where_it_is_named() {
    let named = |text: &str| {
        let config = config::parse(Path::new("warren.toml"), text).unwrap();
        let checked = config::check_named(Path::new("warren.toml"), text, &config);
        checked.expect_err("a file is missing").to_string()
    };
    for (from, to, key) in [
        (
            "[web]",
            "[metrics]\nlisten = \"[::1]:9464\"\ntoken_file = \"/nope\"\n\n[web]",
            "token_file",
        ),
        (
            "[mesh.udp]",
            "[mesh]\npassphrase_file = \"/nope\"\n\n[mesh.udp]",
            "passphrase_file",
        ),
        (
            "[web]",
            "[store]\npassword_file = \"/nope\"\n\n[web]",
            "password_file",
        ),
    ] {
        let text = RIGHT.replacen(from, to, 1);
        let text = if key == "passphrase_file" {
            // The tables of [mesh] follow it.
            let interface = "[[mesh.interface]]\nname = \"mesh0\"\nthroughput = \"100M\"\n\n";
            text.replacen(interface, "", 1)
        } else {
            text
        };
        let line = text
            .lines()
            .position(|line| line.contains("/nope"))
            .unwrap()
            + 1;
        let error = named(&text);
        assert!(
            error.starts_with(&format!("warren.toml:{line}:")),
            "{error}"
        );
        assert!(
            error.contains(&format!("`{key}`: cannot read /nope")),
            "{error}"
        );
    }
    let text = RIGHT.replacen(
        "name = \"A\"",
        "name = \"A\"\nuser = \"nobody-of-this-name\"",
        1,
    );
    assert!(named(&text).starts_with("warren.toml:3:8: `user`: "));
}

//! OpenWrt's UCI file becomes the daemon's configuration, and hostile values stay values.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use warrend::config::{self, Config, uci};

fn convert(text: &str) -> Config {
    let toml = uci::convert(Path::new("warren"), text).unwrap();
    config::parse(Path::new("warren.toml"), &toml).unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

fn error_of(text: &str) -> String {
    uci::convert(Path::new("/etc/config/warren"), text)
        .expect_err("this file is wrong")
        .to_string()
}

#[test]
fn a_whole_file() {
    let config = convert(
        r#"
# comment
package warren

config warren 'main'
    option enabled '1'
    option name "Ann's router"
    option state /etc/warren
    option log_level 'debug'   # behind it
    list open 'tcp/80'
    list open udp/53
    list web '127.0.0.1:8080'
    list web_name 'Warren.lan'
    option names_interface 'lan'
    list feed_relay 'wss://relay.example'
    list feed_relay 'ws://192.0.2.1:7777'
    option feed_ca_file '/etc/warren/ca.pem'
    option metrics '127.0.0.1:9464'
    option metrics_token_file '/etc/warren/metrics.token'
    option backup_dir '/mnt/usb/backup'
    option backup_every 'weekly'

config interface
    option name 'mesh0'
    option throughput '50M'
    option raise_mtu '0'

config interface 'lan1'

config udp 'udp'
    option listen '[::]:4242'
    list peer '[2001:db8::1]:4242'

config space 'garden'
    option name 'Garden club'
    option visible '1'
    option port '7447'

config export
    option space 'garden'
    option dir '/mnt/usb/garden'
    option every 'daily'
    option keep '3'

config space 'old'
    option enabled '0'
    option name 'Old'
    option port '7448'
"#,
    );
    assert_eq!(config.name.0, "Ann's router");
    assert_eq!(config.network.open.len(), 2);
    assert_eq!(config.web.names[0].0, "warren.lan");
    let uplink = config.feed.uplink();
    let relays: Vec<&str> = uplink.relays.iter().map(|relay| relay.as_str()).collect();
    assert_eq!(relays, ["wss://relay.example/", "ws://192.0.2.1:7777/"]);
    assert!(uplink.ca_file.is_some());
    let metrics = config.metrics.as_ref().unwrap();
    assert_eq!(metrics.listen.get_ref().to_string(), "127.0.0.1:9464");
    assert!(metrics.token_file.is_some());
    let backup = config.backup.as_ref().unwrap();
    assert_eq!(backup.every, config::Every::Weekly);
    assert_eq!(config.mesh.interface.len(), 2);
    assert!(!config.mesh.interface[0].raise_mtu);
    assert_eq!(config.mesh.interface[1].name.get_ref().0, "lan1");
    assert_eq!(config.mesh.udp.as_ref().unwrap().peers.len(), 1);
    assert_eq!(config.space.len(), 1);
    assert_eq!(config.space[0].id.get_ref().0, "garden");
    assert_eq!(config.export[0].get_ref().space, "garden");
    assert_eq!(config.export[0].get_ref().keep.get(), 3);
}

#[test]
fn hostile_values_reach_the_daemon_as_they_are_or_are_refused_and_never_add_a_key() {
    for value in [
        r#"x"; reboot; ""#,
        "$(reboot)",
        "`reboot`",
        "a\\nname = \"b\"",
        "]] [[space]]",
        "\"\"\"",
        "%s%n",
    ] {
        let config = convert(&format!("config warren\n option name '{value}'\n"));
        assert_eq!(config.name.0, value);
        assert!(config.space.is_empty());
    }
    // What no name may hold is refused by the configuration's own check.
    let toml = uci::convert(Path::new("w"), "config warren\n option name 'tab\there'\n").unwrap();
    assert!(config::parse(Path::new("x"), &toml).is_err());
}

#[test]
fn errors_name_the_line_and_what_was_expected() {
    let error = error_of("config warren\n option nmae 'x'\n");
    assert!(
        error.starts_with(
            "/etc/config/warren:2: found option \"nmae\", expected option enabled, name"
        ),
        "{error}"
    );
    assert!(error_of("option a b\n").starts_with("/etc/config/warren:1: "));
    assert!(
        error_of("config warren\n\n option name 'x\n")
            .starts_with("/etc/config/warren:3: found no closing '")
    );
    assert!(error_of("config wifi\n").contains("expected warren, interface, udp, space or export"));
    assert!(error_of("config space 'a'\n option port 'x'\n").contains("expected a number"));
    assert!(error_of("config interface\n option raise_mtu 'maybe'\n").contains("expected 1 or 0"));
    assert!(error_of("nonsense\n").contains("config TYPE [NAME]"));
}

proptest! {
    #[test]
    fn any_text_is_an_answer_or_an_error(text in "(config|option|list|[ \t\n'\"\\\\a-z#])*.{0,200}") {
        let _ = uci::convert(Path::new("x"), &text);
    }

    #[test]
    fn any_quoted_value_comes_through(value in "[^'\n\r]{1,30}") {
        let sections = uci::parse(&format!("config warren\n option name '{value}'\n")).unwrap();
        prop_assert_eq!(&sections[0].entries[0].value, &value);
    }
}

/// What OpenWrt's CI runs on the package, here on what the package puts onto a router.
#[test]
fn the_package_passes_its_own_test() {
    let feed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openwrt-feed/warren");
    let root = tempfile::tempdir().unwrap();
    let install = Command::new("sh")
        .arg(feed.join("files/install.sh"))
        .arg(root.path())
        .arg(env!("CARGO_BIN_EXE_warrend"))
        .status();
    assert!(install.unwrap().success());
    let programs = root.path().join("usr/sbin");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let test = Command::new("sh")
        .arg(feed.join("test.sh"))
        .args(["warren", env!("CARGO_PKG_VERSION")])
        .env("ROOT", root.path())
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(test.status.success(), "{test:?}");
}

//! Homes that released versions wrote open, and what a later version wrote is refused and not touched. A fixture is never
//! changed: a new version adds one (`cargo test -p warren-home --test home -- --ignored released`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::http::Program;
use crate::common::{PASS, TestHome, Wire, limits, open_space};
use nostr::key::Keys;
use serde_json::{Value, json};
use warren_home::{Dialer, Home, HomeConfig};

/// Who Ann is in the fixtures.
const ANN: &str = include_str!("../fixtures/ann.txt");

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(version)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn account_file(dir: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(dir.join("a/accounts")).unwrap();
    entries
        .find_map(|entry| {
            let path = entry.unwrap().path();
            (path.extension()? == "account").then_some(path)
        })
        .unwrap()
}

#[tokio::test]
async fn homes_of_every_released_version_open_and_their_people_are_who_they_were() {
    for version in ["home-1"] {
        let dir = tempfile::tempdir().unwrap();
        copy(&fixture(version), &dir.path().join("a"));
        let wire = Wire::to(&open_space(dir.path()));
        let home = TestHome::open(dir.path(), "a", &wire).await;
        let ann = Program::log_in(&home, "Ann", PASS).await;
        let account = ann.done("GET", "account", &Value::Null).await;
        assert_eq!(account["handle"], "ann");
        assert_eq!(account["public_key"], ANN.trim());
        let key = ann
            .done("POST", "account/key", &json!({"passphrase": PASS}))
            .await;
        let secret = Keys::parse(key["secret_key"].as_str().unwrap()).unwrap();
        assert_eq!(secret.public_key().to_hex(), ANN.trim());
    }
}

#[tokio::test]
async fn an_account_that_a_newer_program_wrote_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("home-1"), &dir.path().join("a"));
    let file = account_file(dir.path());
    let text = std::fs::read_to_string(&file).unwrap();
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert_ne!(newer, text);
    std::fs::write(&file, &newer).unwrap();
    let wire = Wire::to(&open_space(dir.path()));
    let config = HomeConfig {
        dir: dir.path().join("a"),
        name: "a".into(),
        host_names: Vec::new(),
        relay: None,
        uplink: Default::default(),
        limits: limits(),
    };
    let dialer: Arc<dyn Dialer> = wire;
    let opened = Home::open(config, dialer, warren_home::system_clock());
    let error = opened.err().unwrap().to_string();
    assert!(
        error.contains("a newer program wrote it (version 2"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
}

#[tokio::test]
#[ignore = "makes the fixture of a new version"]
async fn write_the_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::to(&open_space(dir.path()));
    let home = TestHome::open(dir.path(), "a", &wire).await;
    let ann = Program::sign_up(&home, "Ann", PASS).await;
    let account = ann.done("GET", "account", &Value::Null).await;
    ann.done("DELETE", "session", &Value::Null).await;
    home.close();
    copy(&dir.path().join("a"), &fixture("home-1"));
    let who = format!("{}\n", account["public_key"].as_str().unwrap());
    std::fs::write(fixture("ann.txt"), who).unwrap();
}

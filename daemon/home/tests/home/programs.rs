//! Other people's programs, through two homes on loopback: nostr-tools and Chromium, run by Node. Where Node, its
//! packages or Chromium are missing the test says so and passes, except with CI=true: then it fails.

use std::path::PathBuf;
use std::process::Stdio;

use crate::common::http::Program;
use crate::common::island::{Household, Net, service};
use crate::common::{PASS, SERVICE, Village};

fn programs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/nostr")
}

/// Whether the test can run here.
fn has(what: &str, there: bool) -> bool {
    if !there {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "{what} is missing"
        );
        eprintln!(
            "{what} is missing: nothing was tested. Run `npm ci` in tests/nostr on a machine with Node and Chromium."
        );
    }
    there
}

fn has_node() -> bool {
    let node = std::process::Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    has("node", node) && has("node_modules", programs().join("node_modules").is_dir())
}

async fn run(test: &str) {
    if !has_node() {
        return;
    }
    let village = Village::open().await;
    let (a, c) = (&village.a, &village.c);
    let ann = Program::sign_up(a, "Ann", PASS).await;
    let account = ann.done("GET", "account", &serde_json::Value::Null).await;
    let person = account["public_key"].as_str().unwrap();
    if test == "homes/messages.js" {
        crate::common::town::Person {
            program: Program {
                home: a,
                token: ann.token.clone(),
            },
            key: person.to_owned(),
        }
        .join('a')
        .await;
    }
    let allowed = serde_json::json!({"permissions": ["sign_event:1", "nip44_encrypt"]});
    let bunker = ann.done("POST", "apps", &allowed).await["uri"].clone();
    // The program that asked did so as `localhost`; the app needs the port.
    let bunker = bunker
        .as_str()
        .unwrap()
        .replace("localhost", &a.address.to_string());
    let mut command = node(test);
    command
        .env("WARREN_BUNKER", bunker)
        .env("WARREN_API", format!("http://{}/api/1/", a.address))
        .env("WARREN_TOKEN", &ann.token)
        .env("WARREN_PERSON", person)
        .env("WARREN_A", format!("ws://{}/s/{SERVICE}/", a.address))
        .env("WARREN_C", format!("ws://{}/s/{SERVICE}/", c.address))
        .env(
            "WARREN_PAGE_A",
            format!("http://{}/s/{SERVICE}/", a.address),
        )
        .env(
            "WARREN_PAGE_C",
            format!("http://{}/s/{SERVICE}/", c.address),
        );
    finish(command).await;
}

fn node(test: &str) -> std::process::Command {
    let mut command = std::process::Command::new("node");
    command.args(["--test", test]).current_dir(programs());
    command
}

async fn finish(mut command: std::process::Command) {
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn nostr_tools_writes_through_one_home_and_reads_through_another() {
    run("test/channel.test.js").await;
}

#[tokio::test]
async fn nostr_tools_compares_what_it_has_with_what_the_space_has() {
    run("test/sync.test.js").await;
}

#[tokio::test]
async fn rx_nostr_writes_through_one_home_and_reads_through_another() {
    run("test/engine.test.js").await;
}

#[tokio::test]
async fn nip46_nostr_tools_signs_with_an_account_of_a_home() {
    run("test/signer.test.js").await;
}

#[tokio::test]
async fn nip17_nostr_tools_writes_to_a_person_of_a_home_and_is_answered() {
    run("homes/messages.js").await;
}

#[tokio::test]
async fn chromium_shows_at_one_home_what_was_written_at_another_within_a_second() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if has("chromium", std::path::Path::new(&chromium).exists()) {
        run("test/page.test.js").await;
    }
}

#[tokio::test]
async fn the_app_speaks_through_the_encrypted_channel() {
    let built = programs().join("../../web-admin/app/dist/channel/index.js");
    if has("web-admin/app/dist", built.is_file()) {
        run("test/sealed.test.js").await;
    }
}

#[tokio::test]
async fn nip65_nostr_tools_posts_to_the_relay_of_a_home_and_reads_from_it() {
    if !has_node() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let net = std::sync::Arc::<Net>::default();
    let a = Household::open(dir.path(), &net, 'a').await;
    let b = Household::open(dir.path(), &net, 'b').await;
    let (ann, ben) = (a.person("Ann").await, b.person("Ben").await);
    let passphrase = serde_json::json!({"passphrase": PASS});
    let secret = ann.program.done("POST", "account/key", &passphrase).await;
    let address = |home: &Household| {
        let service = service(home.letter);
        format!("ws://{}/s/{service}/", home.home.address)
    };
    let names = ['a', 'b'].map(|letter| format!("ws://{}.warren/", service(letter)));
    let mut command = node("homes/feed.js");
    command
        .env("WARREN_RELAY_A", address(&a))
        .env("WARREN_RELAY_B", address(&b))
        .env("WARREN_RELAY_NAMES", names.join(","))
        .env("WARREN_SECRET_A", secret["secret_key"].as_str().unwrap());
    finish(command).await;
    // What a stock client wrote is in the feed, and reaches those who follow.
    ann.sees("feed", &["from a stock client"]).await;
    ben.follows(&format!("ann@{}", service('a'))).await;
    ben.sees("feed", &["from a stock client"]).await;
}

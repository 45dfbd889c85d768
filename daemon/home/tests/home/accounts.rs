//! The life of an account: made, opened, changed, kept by a guest and removed, over restarts and kills.

use std::path::Path;

use crate::common::http::{Program, ask, between};
use crate::common::{PASS, SERVICE, TestHome, Wire, home, limits, login, open_space};
use nostr::key::Keys;
use serde_json::{Value, json};
use warren_home::Limits;

/// Every file under a directory, as one text.
fn everything_in(dir: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &everything_in(&path);
        } else {
            all += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
        }
    }
    all
}

#[tokio::test]
async fn a_device_stays_logged_in_over_a_restart_and_the_disk_alone_opens_nothing() {
    let (dir, wire, home) = home(limits()).await;
    let ann = Program::sign_up(&home, "Ann", PASS).await;
    let account = ann.done("GET", "account", &Value::Null).await;
    assert_eq!(
        (&account["name"], &account["handle"], &account["open"]),
        (&json!("Ann"), &json!("ann"), &json!(true))
    );
    let key = ann
        .done("POST", "account/key", &json!({"passphrase": PASS}))
        .await;
    let secret = key["secret_key"].as_str().unwrap();
    assert_eq!(
        Keys::parse(secret).unwrap().public_key().to_hex(),
        account["public_key"]
    );
    let files = everything_in(&dir.path().join("a/accounts"));
    assert!(!files.contains(secret) && !files.contains(&ann.token) && !files.contains(PASS));
    let token = ann.token.clone();
    home.close();
    let home = TestHome::open(dir.path(), "a", &wire).await;
    let ann = Program { home: &home, token };
    let event = json!({"kind": 1, "content": "hello", "created_at": 5}).to_string();
    let signed = ann
        .done(
            "POST",
            "signer",
            &json!({"method": "sign_event", "params": [event]}),
        )
        .await;
    let signed: nostr::event::Event =
        serde_json::from_str(signed["result"].as_str().unwrap()).unwrap();
    assert!(signed.verify().is_ok() && signed.pubkey.to_hex() == account["public_key"]);
    ann.done("DELETE", "session", &Value::Null).await;
    assert_eq!(
        ann.refused("GET", "account", &Value::Null).await,
        "not_logged_in"
    );
    let again = Program::log_in(&home, "ANN", PASS).await;
    assert_eq!(
        again.done("GET", "account", &Value::Null).await["public_key"],
        account["public_key"]
    );
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_passphrase_have_one_answer() {
    let (_dir, _wire, home) = home(limits()).await;
    Program::sign_up(&home, "Ann", PASS).await;
    let nobody = Program::new(&home);
    let wrong = nobody
        .call("POST", "session", &login("Ann", "not the passphrase"))
        .await;
    assert_eq!(wrong.0, 403);
    for other in [
        login("Ben", PASS),
        login("", PASS),
        login("<>", PASS),
        login("Ann", &"x".repeat(5000)),
    ] {
        assert_eq!(
            nobody.call("POST", "session", &other).await,
            wrong,
            "{other}"
        );
    }
}

#[tokio::test]
async fn names_that_are_taken_or_play_tricks_and_short_passphrases_are_refused() {
    let (_dir, _wire, home) = home(limits()).await;
    Program::sign_up(&home, "coco", PASS).await;
    let nobody = Program::new(&home);
    for (name, passphrase, code) in [
        ("COCO", PASS, "name_taken"),
        ("\u{ff43}oco", PASS, "name_taken"),
        ("сосо", PASS, "name_taken"),
        ("c\u{200b}oco", PASS, "name_taken"),
        ("cос\u{43e}", PASS, "name_invalid"),
        ("", PASS, "name_invalid"),
        ("Ann", "short", "passphrase_short"),
        ("Ann Miller", "ann miller", "passphrase_short"),
        ("Ann", &"x".repeat(1025), "passphrase_long"),
    ] {
        assert_eq!(
            nobody
                .refused("POST", "accounts", &login(name, passphrase))
                .await,
            code,
            "{name}"
        );
    }
    assert_eq!(
        nobody
            .refused("POST", "accounts", &json!({"name": 5}))
            .await,
        "body_invalid"
    );
    let ann = Program::sign_up(&home, "Ann", PASS).await;
    assert_eq!(
        ann.refused("PATCH", "account", &json!({"name": "Coco"}))
            .await,
        "name_taken"
    );
    assert_eq!(
        ann.refused("PATCH", "account", &json!({"handle": "coco"}))
            .await,
        "handle_taken"
    );
    assert_eq!(
        ann.refused("PATCH", "account", &json!({"handle": "Ann B"}))
            .await,
        "handle_invalid"
    );
    assert_eq!(
        ann.refused("PATCH", "account", &json!({"relays": ["http://x"]}))
            .await,
        "field_invalid"
    );
    ann.done("PATCH", "account", &json!({"name": "ANNA"})).await;
    Program::log_in(&home, "anna", PASS).await;
}

#[tokio::test]
async fn a_changed_passphrase_logs_out_others_on_wish_and_an_account_is_removed_for_good() {
    let (dir, _wire, home) = home(limits()).await;
    let ann = Program::sign_up(&home, "Ann", PASS).await;
    let phone = Program::log_in(&home, "Ann", PASS).await;
    let wrong = json!({"old": "not the passphrase", "new": "another passphrase"});
    assert_eq!(
        ann.refused("POST", "account/passphrase", &wrong).await,
        "wrong_passphrase"
    );
    let change = json!({"old": PASS, "new": "another passphrase", "log_out_others": true});
    ann.done("POST", "account/passphrase", &change).await;
    assert_eq!(
        phone.refused("GET", "account", &Value::Null).await,
        "not_logged_in"
    );
    let nobody = Program::new(&home);
    assert_eq!(
        nobody.refused("POST", "session", &login("Ann", PASS)).await,
        "wrong_passphrase"
    );
    Program::log_in(&home, "Ann", "another passphrase").await;
    assert_eq!(
        ann.refused("POST", "account/delete", &json!({"passphrase": PASS}))
            .await,
        "wrong_passphrase"
    );
    ann.done(
        "POST",
        "account/delete",
        &json!({"passphrase": "another passphrase"}),
    )
    .await;
    assert_eq!(
        ann.refused("GET", "account", &Value::Null).await,
        "not_logged_in"
    );
    assert!(
        std::fs::read_dir(dir.path().join("a/accounts"))
            .unwrap()
            .next()
            .is_none()
    );
    Program::sign_up(&home, "Ann", PASS).await;
}

#[tokio::test]
async fn devices_are_listed_and_logged_out_one_by_one_or_all() {
    let (_dir, _wire, home) = home(Limits {
        devices: 3,
        ..limits()
    })
    .await;
    let ann = Program::sign_up(&home, "Ann", PASS).await;
    let (phone, _tablet) = (
        Program::log_in(&home, "Ann", PASS).await,
        Program::log_in(&home, "Ann", PASS).await,
    );
    let list = ann.done("GET", "devices", &Value::Null).await;
    let devices = list["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 3);
    let own: Vec<_> = devices
        .iter()
        .filter(|device| device["this"] == true)
        .collect();
    assert_eq!((own.len(), &own[0]["name"]), (1, &json!("test")));
    let list = phone.done("GET", "devices", &Value::Null).await;
    let id = list["devices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|device| device["this"] == true)
        .unwrap()["id"]
        .clone();
    ann.done(
        "DELETE",
        &format!("devices/{}", id.as_str().unwrap()),
        &Value::Null,
    )
    .await;
    assert_eq!(
        phone.refused("GET", "account", &Value::Null).await,
        "not_logged_in"
    );
    assert_eq!(
        ann.refused("DELETE", "devices/nothing", &Value::Null).await,
        "unknown"
    );
    assert_eq!(
        ann.done("DELETE", "devices", &Value::Null).await["logged_out"],
        1
    );
    for _ in 0..5 {
        Program::log_in(&home, "Ann", PASS).await;
    }
    let last = Program::log_in(&home, "Ann", PASS).await;
    assert_eq!(
        last.done("GET", "devices", &Value::Null).await["devices"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
async fn a_guest_who_keeps_the_account_keeps_name_words_and_place() {
    let (dir, wire, home) = home(limits()).await;
    let page = ask(&home, "GET", &format!("/s/{SERVICE}/"), "", "").await;
    let cookie = between(&page.head, "set-cookie: ", ";").to_owned();
    let form_token = between(&page.body, "name=\"token\" value=\"", "\"").to_owned();
    let headers =
        format!("Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    let form = format!("token={form_token}&name=Ann&text=before");
    assert_eq!(
        ask(
            &home,
            "POST",
            &format!("/s/{SERVICE}/send"),
            &headers,
            &form
        )
        .await
        .status,
        303
    );
    let token = cookie.split_once('=').unwrap().1.to_owned();
    let ann = Program {
        home: &home,
        token: token.clone(),
    };
    let guest = ann.done("GET", "session", &Value::Null).await;
    assert_eq!(
        (&guest["kind"], &guest["name"]),
        (&json!("guest"), &json!("Ann"))
    );

    // What she writes while the space is away waits.
    wire.cut();
    let form = format!("token={form_token}&name=Ann&text=in+the+dark");
    assert_eq!(
        ask(
            &home,
            "POST",
            &format!("/s/{SERVICE}/send"),
            &headers,
            &form
        )
        .await
        .status,
        303
    );
    let kept = ann
        .done(
            "POST",
            "account/keep",
            &json!({"passphrase": PASS, "device": "browser"}),
        )
        .await;
    assert_eq!(kept["account"]["public_key"], guest["public_key"]);
    assert_eq!(
        ann.refused("POST", "account/keep", &json!({"passphrase": PASS}))
            .await,
        "not_a_guest"
    );
    assert_eq!(
        Program::new(&home)
            .refused("POST", "account/keep", &json!({"passphrase": PASS}))
            .await,
        "not_a_guest"
    );
    assert!(
        std::fs::read_dir(dir.path().join("a/guests"))
            .unwrap()
            .next()
            .is_none()
    );
    home.close();

    // After a restart the account is sealed: the words wait until its person is here, and are not lost.
    let home = TestHome::open(dir.path(), "a", &wire).await;
    wire.heal();
    let other = TestHome::open(dir.path(), "c", &wire).await;
    let looking = async |home: &TestHome, headers: &str, words: &str| loop {
        let page = ask(home, "GET", &format!("/s/{SERVICE}/"), headers, "")
            .await
            .body;
        if page.contains(words) {
            return page;
        }
        tokio::task::yield_now().await;
    };
    let seen = tokio::time::timeout(crate::common::PATIENCE, looking(&other, "", "before"))
        .await
        .unwrap();
    assert!(!seen.contains("in the dark"));
    let page = ask(
        &home,
        "GET",
        &format!("/s/{SERVICE}/"),
        &format!("Cookie: {cookie}\r\n"),
        "",
    )
    .await;
    assert!(page.body.contains("value=\"Ann\""), "the page knows her");
    let seen = tokio::time::timeout(crate::common::PATIENCE, looking(&other, "", "in the dark"))
        .await
        .unwrap();
    assert_eq!(seen.matches("Ann").count(), 2, "both are hers: {seen}");
}

/// Run by the test below in a process of its own: makes accounts until it is killed, and says each one that is made.
#[tokio::test]
#[ignore = "runs until it is killed, by the test below"]
async fn makes_accounts_until_it_is_killed() {
    let dir = std::env::var("WARREN_TEST_KILL").unwrap();
    let dir = Path::new(&dir);
    let wire = Wire::to(&open_space(&dir.join("space of the child")));
    let home = TestHome::open(dir, "a", &wire).await;
    for n in 0.. {
        let name = format!("{}-{n}", std::process::id());
        Program::sign_up(&home, &name, PASS).await;
        println!("\nmade {name}");
    }
}

#[tokio::test]
async fn a_killed_home_has_every_account_that_it_said_it_made_and_no_half_ones() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    for round in 1..4 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "accounts::makes_accounts_until_it_is_killed",
                "--nocapture",
            ])
            .env("WARREN_TEST_KILL", dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let names = lines.filter_map(|line| line.strip_prefix("made ").map(str::to_owned));
        made.extend(names.take(3 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(made.len(), 18);
    let wire = Wire::to(&open_space(dir.path()));
    let home = TestHome::open(dir.path(), "a", &wire).await;
    for name in &made {
        Program::log_in(&home, name, PASS).await;
    }
    let files = std::fs::read_dir(dir.path().join("a/accounts")).unwrap();
    assert!(
        files
            .flatten()
            .all(|file| file.path().extension().is_some_and(|end| end == "account"))
    );
}

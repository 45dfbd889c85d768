//! A space invites: by page at another home, in a Nostr program, and still after it has moved to another box.

use nostr::key::Keys;
use serde_json::{Value, json};

use super::client::{Client, event};
use super::daemon::{Router, line, wait_until};
use super::web::{self, Answer, get, post};

/// The smallest PNG there is.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\nIDATx\x9cc\0\x01\0\0\x05\0\x01\r\n-\xb4\0\0\0\0IEND\xaeB`\x82";

/// A space that takes people by invitation only, on the first of two linked homes which know of each other.
async fn closed_space(host: &Router, near: &Router) -> (String, Keys) {
    let owner = Keys::generate();
    let key = owner.public_key().to_hex();
    let made = host.ask(&[
        "space",
        "create",
        "Garden <club>",
        "--visible",
        "--about",
        "Beans & peas",
        "--owner",
        &key,
    ]);
    let service = made["service"].as_str().unwrap().to_owned();
    let boss = Client::connect(host.web, &service, &owner).await;
    // A proof from the second in which the space began is not taken.
    wait_until("the space takes the call", || {
        boss.manage(host.web, &service, "setaccess", json!(["closed"]))["result"] == true
    });
    wait_until("the other home hears of it", || {
        near.ask(&["spaces"])[0]["service"] == *service
    });
    (service, owner)
}

fn come_in(home: &Router, page: &Answer, path: &str, name: &str) -> Answer {
    let (cookie, token) = (page.cookie(), page.field("token"));
    post(
        home.web,
        path,
        &cookie,
        &[("token", &token), ("name", name)],
    )
}

fn path_of(invited: &Value) -> String {
    format!("/i/{}", invited["text"].as_str().unwrap())
}

#[tokio::test]
async fn a_friend_at_another_home_comes_in_by_the_page_and_another_in_a_nostr_program() {
    let parent = tempfile::tempdir().unwrap();
    let configs = line(3);
    let host = Router::start(&parent.path().join("a"), "A", &configs[0]);
    let _between = Router::start(&parent.path().join("b"), "B", &configs[1]);
    let friend = Router::start(&parent.path().join("c"), "C", &configs[2]);
    let (service, _) = closed_space(&host, &friend).await;

    let said = host.say(&[
        "space",
        "invite",
        "garden-club",
        "--uses",
        "2",
        "--expires",
        "3",
    ]);
    assert!(
        said.contains("for 2 people") && said.contains('\u{2588}'),
        "{said}"
    );
    let invited = host.ask(&["space", "list-invites", "garden-club"])[0].clone();
    let code = invited["code"].as_str().unwrap();
    let path = format!("/i/{service}/{code}");
    assert!(said.contains(&path), "{said}");

    // Whoever pastes it on the first page is sent to its own.
    let first = get(friend.web, "/", &[]).text();
    assert!(first.contains("I have an invitation"), "{first}");
    let sent = get(
        friend.web,
        &format!("/i/?invitation=http%3A%2F%2F192.0.2.1{path}"),
        &[],
    );
    assert_eq!((sent.status, sent.header("location")), (303, path.clone()));
    assert_eq!(get(friend.web, "/i/?invitation=nonsense", &[]).status, 404);

    let page = get(friend.web, &path, &[]);
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    assert!(
        text.contains("Garden &lt;club&gt;") && text.contains("Beans &amp; peas"),
        "{text}"
    );
    let code = get(friend.web, &format!("{path}/qr.svg"), &[]);
    assert_eq!(code.header("content-type"), "image/svg+xml");
    assert!(code.text().contains("<svg"));

    // Without the form's token nobody comes in, and the invitation is not used.
    let forged = post(
        friend.web,
        &path,
        &page.cookie(),
        &[("token", "0"), ("name", "Eve")],
    );
    assert_eq!(forged.status, 403);
    // The form is sent twice, by a hasty finger: one place is taken.
    for _ in 0..2 {
        let done = come_in(&friend, &page, &path, "Ann");
        let place = format!("/s/{service}/");
        assert_eq!(
            (done.status, done.header("location")),
            (303, place),
            "{}",
            done.text()
        );
    }
    let invites = host.ask(&["space", "list-invites", "garden-club"]);
    assert_eq!(
        (&invites[0]["used"], &invites[0]["uses"]),
        (&json!(1), &json!(2))
    );
    let space = get(
        friend.web,
        &format!("/s/{service}/"),
        &[("Cookie", &page.cookie())],
    );
    assert!(
        space.text().contains("value=\"Ann\""),
        "the page knows the name"
    );

    // The last place goes to somebody with a Nostr program at a third home.
    let ben = Keys::generate();
    let mut client = Client::connect(host.web, &service, &ben).await;
    let text = invited["code"].as_str().unwrap();
    let (taken, reason) = client
        .offer(&event(&ben, 28934, &[&["-"], &["claim", text]], ""))
        .await;
    assert!(taken, "{reason}");
    assert_eq!(
        host.ask(&["space", "show", "garden-club"])["figures"]["members"],
        2
    );

    // Now it is used up, and the page says what to do.
    let late = get(friend.web, &path, &[]);
    let refused = come_in(&friend, &late, &path, "Late");
    assert_eq!(refused.status, 410);
    assert!(
        refused
            .text()
            .contains("Ask whoever gave it to you for a new one"),
        "{}",
        refused.text()
    );
    assert!(
        host.ask(&["space", "list-invites", "garden-club"])
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        host.ask(&["space", "show", "garden-club"])["figures"]["members"],
        2
    );
}

#[tokio::test]
async fn an_invitation_and_a_membership_hold_after_the_space_has_moved() {
    let parent = tempfile::tempdir().unwrap();
    let configs = line(3);
    let old = Router::start(&parent.path().join("a"), "A", &configs[0]);
    let new = Router::start(&parent.path().join("b"), "B", &configs[1]);
    let friend = Router::start(&parent.path().join("c"), "C", &configs[2]);
    let (service, _) = closed_space(&old, &friend).await;
    let invited = old.ask(&["space", "invite", "garden-club", "--uses", "2"]);
    let path = path_of(&invited);
    let page = get(friend.web, &path, &[]);
    assert_eq!(come_in(&friend, &page, &path, "Ann").status, 303);

    let file = parent.path().join("garden.tar");
    let file = file.to_str().unwrap();
    old.say(&["space", "export", "garden-club", file, "--move"]);
    new.say(&["space", "import", file]);
    old.say(&["space", "remove", "garden-club", "--yes"]);
    // Ann belongs to it, and her invitation takes nobody's place.
    wait_until("the friend's home finds it again", || {
        come_in(&friend, &page, &path, "Ann").status == 303
    });
    assert_eq!(
        new.ask(&["space", "list-invites", "garden-club"])[0]["used"],
        1
    );
    let other = get(friend.web, &path, &[]);
    assert_eq!(come_in(&friend, &other, &path, "Ben").status, 303);
    assert_eq!(
        new.ask(&["space", "show", "garden-club"])["figures"]["members"],
        2
    );
    assert_eq!(
        new.ask(&["space", "show", "garden-club"])["service"],
        *service
    );
}

#[tokio::test]
async fn invitations_are_taken_back_lead_into_channels_and_are_accepted_by_apps() {
    let parent = tempfile::tempdir().unwrap();
    let mut host = Router::start(&parent.path().join("a"), "A", "");
    let made = host.ask(&["space", "create", "Pond"]);
    let service = made["service"].as_str().unwrap().to_owned();
    for (words, reason) in [
        (&["space", "invite", "pond", "--uses", "0"][..], "uses"),
        (&["space", "invite", "pond", "--expires", "0"], "expires"),
        (
            &["space", "invite", "pond", "--role", "king"],
            "does not do it",
        ),
        (
            &["space", "invite", "pond", "--channel", "shed"],
            "does not do it",
        ),
        (&["space", "invite", "nowhere"], "nothing called"),
        (
            &["space", "revoke-invite", "pond", "0123456789abcdef"],
            "no open invitation",
        ),
        (&["space", "set", "pond", "--uses", "3"], "no such option"),
    ] {
        let error = host.refused(words);
        assert!(error.contains(reason), "{words:?}: {error}");
    }
    let said = host.say(&["space", "invite", "pond"]);
    assert!(said.contains("hidden: only people of this home"), "{said}");
    let invited = host.ask(&[
        "space",
        "invite",
        "pond",
        "--channel",
        "general",
        "--uses",
        "5",
    ]);
    let naddr = invited["naddr"].as_str().unwrap();
    let code = invited["code"].as_str().unwrap();
    assert!(
        naddr.starts_with("naddr1") && naddr.ends_with(&format!("?invite={code}")),
        "{naddr}"
    );

    // An app of a guest accepts it, and once more.
    let path = path_of(&invited);
    let page = get(host.web, &path, &[]);
    let call = |cookie: &str, text: &str| {
        let body = json!({"invitation": text}).to_string();
        let headers = [("Content-Type", "application/json"), ("Cookie", cookie)];
        let at = format!("127.0.0.1:{}", host.web);
        web::ask(host.web, &at, "POST", "/api/1/invitations", &headers, &body)
    };
    let nobody = call(&page.cookie(), invited["text"].as_str().unwrap());
    assert_eq!(
        (nobody.status, &nobody.json()["error"]["code"]),
        (401, &json!("not_logged_in"))
    );
    assert_eq!(come_in(&host, &page, &path, "Ann").status, 303);
    let again = call(&page.cookie(), &format!("http://anywhere{path}"));
    assert_eq!(again.json(), json!({"service": service, "joined": false}));
    let wrong = call(&page.cookie(), "nonsense");
    assert_eq!(wrong.json()["error"]["code"], "field_invalid");

    host.say(&[
        "space",
        "revoke-invite",
        "pond",
        invited["id"].as_str().unwrap(),
    ]);
    let again = host.refused(&["space", "revoke-invite", "pond", "nonsense"]);
    assert!(
        again.contains("\"nonsense\"") && again.contains("`warrend space list-invites pond`"),
        "{again}"
    );
    let late = get(host.web, &path, &[]);
    assert_eq!(come_in(&host, &late, &path, "Late").status, 410);
    let void = call(&late.cookie(), invited["text"].as_str().unwrap());
    assert_eq!(
        (void.status, &void.json()["error"]["code"]),
        (410, &json!("invitation_void"))
    );
    // It is on the disk before it is acknowledged.
    let kept = host.ask(&["space", "invite", "pond", "--uses", "3"]);
    host.kill();
    host.run();
    let invites = host.ask(&["space", "list-invites", "pond"]);
    assert!(
        invites
            .as_array()
            .unwrap()
            .iter()
            .any(|invite| invite["id"] == kept["id"]),
        "{invites}"
    );
    assert!(
        !invites
            .as_array()
            .unwrap()
            .iter()
            .any(|invite| invite["id"] == invited["id"]),
        "{invites}"
    );
}

#[tokio::test]
async fn a_space_has_a_picture_and_quotas_of_files() {
    let parent = tempfile::tempdir().unwrap();
    let mut host = Router::start(&parent.path().join("a"), "A", "");
    let service = host.ask(&["space", "create", "Pond", "--visible"])["service"].clone();
    let file = parent.path().join("picture");
    let path = file.to_str().unwrap();
    std::fs::write(&file, b"<svg onload=alert(1)>").unwrap();
    let error = host.refused(&["space", "set", "pond", "--picture", path]);
    assert!(error.contains("PNG"), "{error}");
    let mut large = PNG.to_vec();
    large.resize((1 << 20) + 1, 0);
    std::fs::write(&file, large).unwrap();
    let error = host.refused(&["space", "set", "pond", "--picture", path]);
    assert!(error.contains("longer than 1048576"), "{error}");
    let error = host.refused(&["space", "set", "pond", "--files-quota", "0"]);
    assert!(error.contains("files-quota"), "{error}");
    std::fs::write(&file, PNG).unwrap();
    let set = host.ask(&[
        "space",
        "set",
        "pond",
        "--picture",
        path,
        "--files-quota",
        "9",
        "--member-quota",
        "3",
    ]);
    assert_eq!(
        (&set["files_quota_mib"], &set["member_quota_mib"]),
        (&json!(9), &json!(3))
    );
    let address = set["picture"].as_str().unwrap();
    assert!(address.starts_with(&format!("http://{}.warren/", service.as_str().unwrap())));
    let left = std::fs::read_dir(host.dir.join("spaces")).unwrap();
    assert_eq!(left.count(), 1, "nothing of the way in is left");

    host.kill();
    host.run();
    let shown = |host: &Router| {
        let service = host.ask(&["space", "show", "pond"])["service"]
            .as_str()
            .unwrap()
            .to_owned();
        get(host.web, &format!("/s/{service}/picture"), &[])
    };
    let picture = shown(&host);
    assert_eq!(
        (picture.status, picture.header("content-type")),
        (200, "image/png".into())
    );
    assert_eq!(picture.body, PNG);
    let first = get(host.web, "/", &[]).text();
    assert!(first.contains("/picture?or=nothing\""), "{first}");
    // Hiding gives the space another address, and its picture with it.
    let hidden = host.ask(&["space", "set", "pond", "--visible", "no", "--yes"]);
    assert_ne!(hidden["service"], service);
    assert_eq!(shown(&host).body, PNG);
}

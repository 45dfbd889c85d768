//! Files over HTTP (Blossom): what one can do, and what one cannot find out.

use crate::blossom::{Answer, Token, hash, ok};
use crate::common::{Person, START, TestSpace};
use serde_json::{Value, json};

const CAT: &[u8] = b"a picture of a cat, of no particular format";

/// A space with a member, Ann, and a member who moderates nothing, Ben.
async fn club() -> (TestSpace, Person, Person) {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    drop(space.member(&ann).await);
    drop(space.member(&ben).await);
    (space, ann, ben)
}

#[tokio::test]
async fn a_file_is_uploaded_read_whole_and_in_parts_listed_and_deleted() {
    let (space, ann, _) = club().await;
    let name = hash(CAT);
    let answer = Token::upload(&ann, CAT)
        .put(&space, CAT)
        .header("content-type", "image/PNG")
        .send()
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let descriptor = answer.json();
    assert_eq!(descriptor["sha256"], name);
    assert_eq!(descriptor["size"], CAT.len());
    assert_eq!(descriptor["type"], "image/png");
    assert_eq!(descriptor["uploaded"], START);
    let url = descriptor["url"].as_str().unwrap();
    assert!(url.ends_with(&format!(".warren/{name}.png")), "{url}");

    // The same once more is not new.
    let again = Token::upload(&ann, CAT).put(&space, CAT).send().await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json()["type"], "image/png");

    for path in [format!("/{name}"), format!("/{name}.jpg")] {
        let whole = space.get(&path).send().await;
        assert_eq!(whole.status, 200);
        assert_eq!(whole.body, CAT);
        assert_eq!(whole.header("content-type"), "image/png");
        assert_eq!(whole.header("x-content-type-options"), "nosniff");
        assert_eq!(whole.header("accept-ranges"), "bytes");
        assert_eq!(whole.header("etag"), format!("\"{name}\""));
        assert_eq!(whole.header("access-control-allow-origin"), "*");
    }
    let head = space.request("HEAD", &format!("/{name}")).send().await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), CAT.len().to_string());
    assert_eq!(head.header("content-type"), "image/png");

    let part = |range: &str| {
        space
            .get(&format!("/{name}"))
            .header("range", range)
            .send_boxed()
    };
    let some = part("bytes=2-8").await;
    assert_eq!((some.status, &*some.body), (206, &CAT[2..=8]));
    assert_eq!(
        some.header("content-range"),
        format!("bytes 2-8/{}", CAT.len())
    );
    assert_eq!(part("bytes=-5").await.body, &CAT[CAT.len() - 5..]);
    assert_eq!(part("bytes=0-1,4-5").await.body, CAT);
    let beyond = part("bytes=1000-").await;
    assert_eq!(beyond.status, 416);
    assert_eq!(
        beyond.header("content-range"),
        format!("bytes */{}", CAT.len())
    );
    let other_version = space
        .get(&format!("/{name}"))
        .header("range", "bytes=2-8")
        .header("if-range", "\"other\"")
        .send()
        .await;
    assert_eq!((other_version.status, &*other_version.body), (200, CAT));
    let unchanged = space
        .get(&format!("/{name}"))
        .header("if-none-match", &format!("W/\"x\", \"{name}\""))
        .send()
        .await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));

    let list = space.get(&format!("/list/{}", ann.hex())).send().await;
    assert_eq!(list.json(), json!([descriptor]));

    let delete = Token::delete(&ann, &name);
    assert_eq!(
        delete
            .request(&space, &format!("/{name}"))
            .send()
            .await
            .status,
        204
    );
    assert_eq!(space.get(&format!("/{name}")).send().await.status, 404);
    assert_eq!(
        delete
            .request(&space, &format!("/{name}"))
            .send()
            .await
            .status,
        404
    );
    assert_eq!(space.space().summary().file_bytes, 0);
}

#[tokio::test]
async fn files_are_there_after_a_restart() {
    let (mut space, ann, _) = club().await;
    ok(Token::upload(&ann, CAT).put(&space, CAT).send().await);
    space.restart();
    assert_eq!(space.get(&format!("/{}", hash(CAT))).send().await.body, CAT);
    assert_eq!(space.space().summary().file_bytes, CAT.len() as u64);
}

#[tokio::test]
async fn who_is_no_member_or_has_no_good_proof_uploads_and_deletes_nothing() {
    let (space, ann, ben) = club().await;
    let stranger = Person::new(3);
    let refused = |answer: &Answer, status: u16, prefix: &str| {
        assert_eq!(answer.status, status, "{answer:?}");
        let reason = answer.header("x-reason");
        assert!(reason.starts_with(prefix), "{reason}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    };
    let nobody = space.put("/upload", CAT).send().await;
    refused(&nobody, 401, "auth-required: ");
    let answer = Token::upload(&stranger, CAT).put(&space, CAT).send().await;
    refused(&answer, 403, "restricted: ");
    let good = Token::upload(&ann, CAT);
    for wrong in [
        good.clone().tag(0, &["t", "get"]),
        good.clone().tag(1, &["expiration", &START.to_string()]),
        good.clone().with(&["server", "cdn.example.com"]),
        good.clone().at(START + 3600),
        Token::upload(&ann, b"another file"),
    ] {
        let answer = wrong
            .put(&space, CAT)
            .header("x-sha-256", &hash(CAT))
            .send()
            .await;
        refused(&answer, 401, "auth-required: ");
    }
    let mut forged = good.event();
    forged.pubkey = ben.0.public_key();
    let answer = space
        .put("/upload", CAT)
        .header("authorization", &crate::blossom::header(&forged))
        .send()
        .await;
    refused(&answer, 401, "auth-required: ");
    // What is sent is not what was signed for.
    let answer = good.put(&space, b"a dog").send().await;
    refused(&answer, 409, "invalid: ");
    let wrong = good.put(&space, b"a dog").header("x-sha-256", &hash(CAT));
    refused(&wrong.send().await, 409, "invalid: ");
    let no_length = good.put(&space, CAT).without_length().send().await;
    refused(&no_length, 411, "invalid: ");
    assert_eq!(space.space().summary().file_bytes, 0);

    ok(good.put(&space, CAT).send().await);
    let path = format!("/{}", hash(CAT));
    let answer = Token::delete(&ben, &hash(CAT)).request(&space, &path);
    refused(&answer.send().await, 404, "restricted: ");
    let answer = space.request("DELETE", &path).send().await;
    refused(&answer, 401, "auth-required: ");
    let answer = Token::delete(&ann, &hash(b"x")).request(&space, &path);
    refused(&answer.send().await, 401, "auth-required: ");
    assert_eq!(space.get(&path).send().await.body, CAT);
}

#[tokio::test]
async fn before_an_upload_one_can_ask_whether_it_would_be_taken() {
    let (space, ann, _) = club().await;
    let ask = |token: Option<&Token>, length: Option<&str>| {
        let mut request = space.request("HEAD", "/upload");
        if let Some(token) = token {
            request = token.request(&space, "/upload").method("HEAD");
        }
        request = request.header("x-sha-256", &hash(CAT));
        if let Some(length) = length {
            request = request.header("x-content-length", length);
        }
        request.send_boxed()
    };
    let token = Token::upload(&ann, CAT);
    assert_eq!(ask(None, Some("5")).await.status, 401);
    assert_eq!(ask(Some(&token), Some("5")).await.status, 200);
    assert_eq!(ask(Some(&token), None).await.status, 411);
    assert_eq!(ask(Some(&token), Some("x")).await.status, 400);
    let most = space.config.limits.files.file_bytes + 1;
    let answer = ask(Some(&token), Some(&most.to_string())).await;
    assert_eq!((answer.status, answer.body.len()), (413, 0));
    assert!(answer.header("x-reason").starts_with("restricted: "));
}

#[tokio::test]
async fn nobody_has_more_than_their_share() {
    let space = TestSpace::with(|config| {
        let files = &mut config.limits.files;
        files.member_bytes = 100;
        files.space_bytes = 150;
        files.file_bytes = 80;
        files.person_files = 3;
    });
    let (ann, ben) = (Person::new(1), Person::new(2));
    drop(space.member(&ann).await);
    drop(space.member(&ben).await);
    let put = |person: &Person, bytes: &'static [u8]| {
        Token::upload(person, bytes).put(&space, bytes).send_boxed()
    };
    assert_eq!(put(&ann, &[1; 81]).await.status, 413);
    assert_eq!(put(&ann, &[1; 80]).await.status, 201);
    let full = put(&ann, &[2; 21]).await;
    assert_eq!(full.status, 429);
    assert!(full.header("x-reason").contains("80 of 100 bytes"));
    // Whether the space has the same bytes makes no difference: room is asked for the whole upload.
    assert_eq!(put(&ben, &[1; 75]).await.status, 507);
    assert_eq!(put(&ben, &[3; 60]).await.status, 201);
    assert_eq!(put(&ann, &[]).await.status, 201);
    assert_eq!(put(&ann, &[5; 1]).await.status, 201);
    assert_eq!(put(&ann, &[6; 1]).await.status, 429);
    let name = hash(&[1; 80]);
    ok(Token::delete(&ann, &name)
        .request(&space, &format!("/{name}"))
        .send()
        .await);
    assert_eq!(put(&ann, &[2; 21]).await.status, 201);
}

#[tokio::test]
async fn what_a_browser_could_run_comes_in_a_sandbox() {
    let (space, ann, _) = club().await;
    let page = b"<script>alert(1)</script>";
    let put = Token::upload(&ann, page)
        .put(&space, page)
        .header("content-type", "text/html; charset=utf-8");
    ok(put.send().await);
    let answer = space.get(&format!("/{}", hash(page))).send().await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(
        answer
            .header("content-security-policy")
            .starts_with("sandbox; default-src 'none'")
    );
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn files_that_are_kept_for_a_time_say_so_and_go() {
    let mut space = TestSpace::with(|config| config.limits.files.keep_seconds = Some(3600));
    let ann = Person::new(1);
    drop(space.member(&ann).await);
    ok(Token::upload(&ann, CAT).put(&space, CAT).send().await);
    let path = format!("/{}", hash(CAT));
    let answer = space.get(&path).send().await;
    assert_eq!(answer.header("sunset"), "Sun, 15 Jun 2025 16:06:40 GMT");
    let later = |seconds| {
        space
            .now
            .store(START + seconds, std::sync::atomic::Ordering::SeqCst);
    };
    later(3599);
    assert_eq!(space.get(&path).send().await.status, 200);
    later(3600);
    assert_eq!(space.get(&path).send().await.status, 404);
    let list = space.get(&format!("/list/{}", ann.hex())).send().await;
    assert_eq!(list.json(), json!([]));
    assert_eq!(space.space().summary().file_bytes, CAT.len() as u64);
    space.restart();
    assert_eq!(space.space().summary().file_bytes, 0);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let (space, ann, _) = club().await;
    let mut all = Vec::new();
    for n in 0..5u32 {
        space
            .now
            .store(START + n / 2, std::sync::atomic::Ordering::SeqCst);
        let bytes = n.to_be_bytes();
        all.push(
            Token::upload(&ann, &bytes)
                .put(&space, &bytes)
                .send()
                .await
                .json(),
        );
    }
    let ask = |query: String| {
        space
            .get(&format!("/list/{}?{query}", ann.hex()))
            .send_boxed()
    };
    let mut cursor = String::new();
    let mut pages = Vec::new();
    loop {
        let page = ask(format!("limit=2{cursor}")).await.json();
        let page = page.as_array().unwrap().clone();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        cursor = format!("&cursor={}", last["sha256"].as_str().unwrap());
        pages.extend(page);
    }
    let place = |file: &Value| {
        let sha256 = file["sha256"].as_str().unwrap().to_owned();
        (-file["uploaded"].as_i64().unwrap(), sha256)
    };
    all.sort_by_key(place);
    assert_eq!(pages, all);
    assert_eq!(ask("cursor=x".into()).await.status, 400);
    assert_eq!(
        ask(format!("since={}", START + 2)).await.json(),
        json!([all[0]])
    );
    assert_eq!(space.get("/list/xyz").send().await.status, 400);
}

#[tokio::test]
async fn moderators_hear_of_reports_and_delete_what_was_reported() {
    let owner = Person::new(9);
    let space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let (ann, ben) = (Person::new(1), Person::new(2));
    drop(space.member(&ann).await);
    drop(space.member(&ben).await);
    ok(Token::upload(&ann, CAT).put(&space, CAT).send().await);
    let name = hash(CAT);
    let report = ben.event(1984, &[&["x", &name, "spam"]], "no cats here");
    let put = |event: &nostr::event::Event| {
        let body = serde_json::to_vec(event).unwrap();
        space.put("/report", &body).send_boxed()
    };
    assert_eq!(put(&report).await.status, 200);
    let ghost = ben.event(1984, &[&["x", &hash(b"ghost"), "spam"]], "");
    assert_eq!(put(&ghost).await.status, 200);
    assert_eq!(put(&ben.event(1984, &[], "")).await.status, 400);
    assert_eq!(put(&ben.event(1, &[&["x", &name]], "")).await.status, 400);
    let stranger = Person::new(3).event(1984, &[&["x", &name]], "");
    assert_eq!(put(&stranger).await.status, 403);
    let mut forged = report.clone();
    forged.content = "changed".into();
    assert_eq!(put(&forged).await.status, 401);

    let reports = |person: &Person| {
        Token::list(person)
            .for_here()
            .request(&space, "/report")
            .send_boxed()
    };
    assert_eq!(reports(&ann).await.status, 403);
    let heard = reports(&owner).await.json();
    assert_eq!(heard.as_array().map(Vec::len), Some(1));
    assert_eq!(heard[0]["sha256"], name);
    assert_eq!(heard[0]["report"]["id"], report.id.to_hex());
    let path = format!("/{name}");
    ok(Token::delete(&owner, &name)
        .request(&space, &path)
        .send()
        .await);
    assert_eq!(space.get(&path).send().await.status, 404);
    assert_eq!(reports(&owner).await.json(), json!([]));
}

#[tokio::test]
async fn paths_and_methods_that_are_none_get_plain_answers() {
    let space = TestSpace::new();
    for (method, path, status) in [
        ("GET", "/nothing".to_owned(), 404),
        ("GET", format!("/{}", "A".repeat(64)), 404),
        ("POST", "/upload".into(), 405),
        ("PUT", format!("/{}", "a".repeat(64)), 405),
        ("GET", format!("/{}", "a".repeat(64)), 404),
        ("HEAD", format!("/{}.png", "a".repeat(64)), 404),
        ("DELETE", format!("/list/{}", "a".repeat(64)), 405),
        ("OPTIONS", "/upload".into(), 204),
        ("OPTIONS", format!("/{}", "a".repeat(64)), 204),
    ] {
        let answer = space.request(method, &path).send().await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        let methods = answer.header("access-control-allow-methods");
        assert_eq!(methods, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
}

#[tokio::test]
async fn slow_readers_leave_room_for_members() {
    let space = TestSpace::with(|config| {
        config.limits.files.transfers = 4;
        config.limits.files.stranger_transfers = 2;
        config.limits.files.person_transfers = 2;
    });
    let (ann, ben, stranger) = (Person::new(1), Person::new(2), Person::new(3));
    for person in [&ann, &ben] {
        drop(space.member(person).await);
    }
    let film = vec![7; 1 << 20];
    ok(Token::upload(&ann, &film).put(&space, &film).send().await);
    let path = format!("/{}", hash(&film));
    let read = |person: &Person| Token::get(person).for_here().request(&space, &path);
    // They ask and read only how the answer begins: as much as that takes a place.
    let mut held = Vec::new();
    for request in [space.get(&path), read(&stranger)] {
        let mut stream = request.send_part(0).await;
        let mut begin = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut begin)
            .await
            .unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        held.push(stream);
    }
    let busy = space.get(&path).send().await;
    assert_eq!(busy.status, 503);
    assert_eq!(
        read(&stranger).send().await.status,
        503,
        "strangers share theirs"
    );
    // A member is served as ever, also while another member takes all of their own share.
    for _ in 0..2 {
        let mut stream = read(&ann).send_part(0).await;
        let mut begin = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut begin)
            .await
            .unwrap();
        held.push(stream);
    }
    assert_eq!(read(&ann).send().await.status, 503);
    held.remove(0);
    let mut answer = read(&ben).send().await;
    while answer.status == 503 {
        tokio::task::yield_now().await; // until the space has noticed
        answer = read(&ben).send().await;
    }
    assert_eq!((answer.status, answer.body.len()), (200, film.len()));
}

#[tokio::test]
async fn moderators_delete_files_of_those_below_them_and_the_log_says_so() {
    let owner = Person::new(9);
    let space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let (ann, ben, dan) = (Person::new(1), Person::new(2), Person::new(4));
    for person in [&ann, &ben, &dan] {
        drop(space.member(person).await);
    }
    for (person, role) in [(&ann, "moderator"), (&dan, "admin")] {
        let params = json!([person.hex(), role]);
        space.manage(&owner, "assignrole", params).await;
    }
    let names: Vec<String> = [&owner, &dan, &ann, &ben]
        .map(|person| format!("a file of {}", person.hex()))
        .into();
    for (person, text) in [&owner, &dan, &ann, &ben].into_iter().zip(&names) {
        let bytes = text.as_bytes();
        ok(Token::upload(person, bytes).put(&space, bytes).send().await);
    }
    let delete = |person: &Person, text: &str| {
        let name = hash(text.as_bytes());
        let path = format!("/{name}");
        Token::delete(person, &name)
            .request(&space, &path)
            .send_boxed()
    };
    for text in &names[..2] {
        assert_eq!(delete(&ann, text).await.status, 404, "{text}");
        let path = format!("/{}", hash(text.as_bytes()));
        assert_eq!(space.get(&path).send().await.status, 200);
    }
    ok(delete(&ann, &names[2]).await);
    ok(delete(&ann, &names[3]).await);
    ok(delete(&dan, &names[1]).await);
    assert_eq!(delete(&dan, &names[0]).await.status, 404);
    let log = space.manage(&owner, "audit", json!([])).await;
    let lines: Vec<&Value> = log
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["tags"][1] == json!(["act", "delete-file"]))
        .collect();
    assert_eq!(lines.len(), 1, "own files are nobody's business");
    let tags = lines[0]["tags"].as_array().unwrap();
    for tag in [
        ["by", &ann.hex()],
        ["p", &ben.hex()],
        ["x", &hash(names[3].as_bytes())],
    ] {
        assert!(tags.contains(&json!(tag)), "{tags:?}");
    }
}

#[tokio::test]
async fn who_may_not_write_or_not_upload_uploads_nothing() {
    let owner = Person::new(9);
    let space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut admin = space.connect_as(&owner).await;
    admin
        .accepted(&owner.event(9007, &[&["h", "hall"]], ""))
        .await;
    drop(space.member(&ann).await);
    space.member(&ben).await.join(&ben, "hall").await;
    let upload = |person: &Person, text: &str| {
        let token = Token::upload(person, text.as_bytes()).with(&["h", "hall"]);
        token.put(&space, text.as_bytes()).send_boxed()
    };
    ok(upload(&ann, "from who does not belong").await);
    let override_of = |deny: Value| json!(["hall", "member", [], deny]);
    space
        .manage(&owner, "setoverride", override_of(json!(["upload"])))
        .await;
    for person in [&ann, &ben] {
        assert_eq!(upload(person, "no more files").await.status, 403);
    }
    ok(upload(&owner, "but of the owner").await);
    space
        .manage(&owner, "setoverride", override_of(json!([])))
        .await;
    ok(upload(&ben, "files again").await);
    let silence = |until: u32| json!([ben.hex(), until]);
    space.manage(&owner, "timeout", silence(START + 50)).await;
    let answer = upload(&ben, "in silence").await;
    assert_eq!(answer.status, 403);
    assert!(answer.header("x-reason").contains("until"), "{answer:?}");
    let name = hash(b"files again");
    let report = ben.event(1984, &[&["x", &name, "spam"]], "");
    let body = serde_json::to_vec(&report).unwrap();
    assert_eq!(space.put("/report", &body).send().await.status, 403);
    space.manage(&owner, "timeout", silence(0)).await;
    ok(upload(&ben, "in silence").await);
}

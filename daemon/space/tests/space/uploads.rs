//! Long ways in and out: uploads in parts, copies from another space, slow and vanishing partners.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::blossom::{Answer, Request, Token, hash, ok};
use crate::common::{Person, SERVICE, START, TestSpace};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warren_space::{BoxFuture, BoxStream, Fetcher, Space};

/// Bytes without pattern.
fn film(bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(next).collect()
}

fn part(space: &TestSpace, token: &Token, whole: &[u8], from: usize, to: usize) -> Request {
    token
        .request(space, "/upload")
        .method("PATCH")
        .header("x-sha-256", &hash(whole))
        .header("upload-length", &whole.len().to_string())
        .header("upload-offset", &from.to_string())
        .header("upload-type", "video/mp4")
        .body(&whole[from..to])
}

/// How much of an upload the space has.
async fn offset(space: &TestSpace, token: &Token, whole: &[u8]) -> u64 {
    let ask = token
        .request(space, "/upload")
        .method("HEAD")
        .header("x-sha-256", &hash(whole))
        .header("x-content-length", &whole.len().to_string());
    ok(ask.send().await)
        .header("upload-offset")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let mut space = TestSpace::new();
    let ann = Person::new(1);
    drop(space.member(&ann).await);
    let whole = film(300_000);
    let token = Token::upload(&ann, &whole);
    assert_eq!(offset(&space, &token, &whole).await, 0);
    let first = part(&space, &token, &whole, 0, 100_000).send().await;
    assert_eq!(first.status, 204, "{first:?}");
    assert_eq!(first.header("upload-offset"), "100000");
    assert_eq!(first.header("upload-length"), "300000");
    let path = format!("/{}", hash(&whole));
    assert_eq!(space.get(&path).send().await.status, 404);
    space.restart();
    assert_eq!(offset(&space, &token, &whole).await, 100_000);
    // A gap is refused with the right place; an overlap is read over.
    let gap = part(&space, &token, &whole, 100_001, 200_000).send().await;
    assert_eq!(
        (gap.status, gap.header("upload-offset")),
        (409, "100000".into())
    );
    let overlap = part(&space, &token, &whole, 50_000, 200_000).send().await;
    assert_eq!(overlap.header("upload-offset"), "200000");
    // The last part, by the other path, from behind a restart again.
    space.restart();
    let last = part(&space, &token, &whole, 200_000, 300_000).path(&format!("{path}.mp4"));
    let last = last.send().await;
    assert_eq!(last.status, 201, "{last:?}");
    assert_eq!(last.json()["type"], "video/mp4");
    assert_eq!(space.get(&path).send().await.body, whole);
    // Who did not hear that it is done asks again.
    assert_eq!(offset(&space, &token, &whole).await, 300_000);
    let again = part(&space, &token, &whole, 200_000, 300_000).send().await;
    assert_eq!(again.status, 200);
    assert_eq!(again.json(), last.json());
}

#[tokio::test]
async fn an_upload_goes_on_after_a_broken_connection_and_from_another_one() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    drop(space.member(&ann).await);
    let whole = film(400_000);
    let token = Token::upload(&ann, &whole);
    // Half of it is sent, then the connection dies.
    let request = part(&space, &token, &whole, 0, 400_000);
    drop(request.send_part(200_000).await);
    // The other half of it comes over a second connection, while the first one of a third try hangs.
    let hanging = part(&space, &token, &whole, 0, 400_000)
        .send_part(300_000)
        .await;
    let mut here = 0;
    while here < 200_000 {
        here = offset(&space, &token, &whole).await;
        if here < 200_000 {
            // Whoever asks to go on ends who hangs; what came is then safe.
            let nudge = part(&space, &token, &whole, 0, 1).send().await;
            assert_eq!(nudge.status, 204, "{nudge:?}");
        }
    }
    let here = usize::try_from(here).unwrap();
    let last = part(&space, &token, &whole, here, 400_000).send().await;
    assert_eq!(last.status, 201, "{last:?}");
    let path = format!("/{}", hash(&whole));
    assert_eq!(space.get(&path).send().await.body, whole);
    drop(hanging);
}

#[tokio::test]
async fn unfinished_uploads_count_are_given_up_and_expire() {
    let space = TestSpace::with(|config| {
        config.limits.files.member_bytes = 1000;
        config.limits.files.person_unfinished = 2;
    });
    let (ann, ben) = (Person::new(1), Person::new(2));
    drop(space.member(&ann).await);
    drop(space.member(&ben).await);
    let whole = film(600);
    let token = Token::upload(&ann, &whole);
    ok(part(&space, &token, &whole, 0, 1).send().await);
    // All of it counts from the beginning.
    let other = film(500);
    let full = Token::upload(&ann, &other).put(&space, &other).send().await;
    assert_eq!(full.status, 429, "{full:?}");
    let (two, three) = (film(2), film(3));
    ok(part(&space, &Token::upload(&ann, &two), &two, 0, 1)
        .send()
        .await);
    let many = part(&space, &Token::upload(&ann, &three), &three, 0, 1);
    assert_eq!(many.send().await.status, 429);
    // Others neither see nor end it.
    let bens = Token::upload(&ben, &whole);
    assert_eq!(offset(&space, &bens, &whole).await, 0);
    let give_up = |token: &Token| {
        token
            .request(&space, "/upload")
            .method("DELETE")
            .header("x-sha-256", &hash(&whole))
            .send_boxed()
    };
    assert_eq!(give_up(&bens).await.status, 404);
    assert_eq!(offset(&space, &token, &whole).await, 1);
    assert_eq!(give_up(&token).await.status, 204);
    assert_eq!(give_up(&token).await.status, 404);
    ok(Token::upload(&ann, &other).put(&space, &other).send().await);
    // What nobody goes on with goes by itself.
    let unfinished = Token::upload(&ann, &two);
    assert_eq!(offset(&space, &unfinished, &two).await, 1);
    let late = START + 2 * 86_400 + 1;
    space.now.store(late, Ordering::SeqCst);
    let mut space = space;
    space.restart();
    let expiration = (late + 100).to_string();
    let unfinished = unfinished.tag(1, &["expiration", &expiration]);
    assert_eq!(offset(&space, &unfinished, &two).await, 0);
}

#[tokio::test]
async fn parts_that_do_not_fit_are_refused() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    drop(space.member(&ann).await);
    let whole = film(1000);
    let token = Token::upload(&ann, &whole);
    let send = |from: usize, to: usize| part(&space, &token, &whole, from, to);
    assert_eq!(
        send(0, 10)
            .header("content-length", "1001")
            .send_head()
            .await,
        416
    );
    assert_eq!(send(0, 0).without("upload-length").send().await.status, 400);
    assert_eq!(send(0, 0).without("upload-offset").send().await.status, 400);
    assert_eq!(
        send(0, 10).without("authorization").send().await.status,
        401
    );
    assert_eq!(send(0, 10).without("x-sha-256").send().await.status, 400);
    assert_eq!(send(0, 10).without_length().send().await.status, 411);
    ok(send(0, 10).send().await);
    let longer = send(10, 20)
        .without("upload-length")
        .header("upload-length", "2000");
    assert_eq!(longer.send().await.status, 400);
    // Wrong bytes are found out in the end, and are gone then.
    let mut wrong = send(10, 1000);
    wrong.spoil();
    assert_eq!(wrong.send().await.status, 409);
    assert_eq!(offset(&space, &token, &whole).await, 0);
    assert_eq!(send(0, 1000).send().await.status, 201);
}

#[tokio::test]
async fn a_sender_or_reader_that_stops_is_given_up() {
    let space = TestSpace::with(|config| {
        config.limits.files.stall_seconds = 1;
        config.limits.files.transfers = 1;
    });
    let ann = Person::new(1);
    drop(space.member(&ann).await);
    let whole = film(1_000_000);
    let token = Token::upload(&ann, &whole);
    let mut silent = token.put(&space, &whole).send_part(500_000).await;
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Answer::parse(&answer).status, 408);
    ok(token.put(&space, &whole).send().await);
    // A reader that takes nothing gives its place up too.
    let path = format!("/{}", hash(&whole));
    let mut reader = space.get(&path).send_part(0).await;
    let mut first = [0; 1];
    reader.read_exact(&mut first).await.unwrap();
    let started = std::time::Instant::now();
    loop {
        let answer = space.get(&path).send().await;
        if answer.status == 200 {
            assert_eq!(answer.body, whole);
            break;
        }
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, "5".into())
        );
        assert!(started.elapsed().as_secs() < 60);
        tokio::task::yield_now().await;
    }
}

/// A way to one other space, which counts how often it is taken.
struct Way {
    space: Arc<Space>,
    opened: AtomicU32,
}

const FAR: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

impl Fetcher for Way {
    fn open<'a>(&'a self, service: &'a str) -> BoxFuture<'a, std::io::Result<BoxStream>> {
        Box::pin(async move {
            self.opened.fetch_add(1, Ordering::SeqCst);
            if service != FAR {
                return Err(std::io::ErrorKind::HostUnreachable.into());
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(Arc::clone(&self.space).serve(theirs));
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

#[tokio::test]
async fn a_copy_is_kept_of_what_another_space_shows_everybody_and_of_nothing_else() {
    let far = TestSpace::with(|config| config.service = FAR.into());
    let near = TestSpace::new();
    let ann = Person::new(1);
    drop(near.member(&ann).await);
    let (shown, private) = (film(200_000), b"the surprise party".to_vec());
    // In the far space Ann is a member too, and has a private channel there.
    let url = format!("ws://{FAR}.warren/");
    let mut client = far.connect().await;
    let challenge = client.challenge.clone();
    let login = ann.event(22242, &[&["relay", &url], &["challenge", &challenge]], "");
    client.send(json!(["AUTH", login])).await;
    assert!(client.answer(&login).await.0);
    client.join(&ann, "general").await;
    client
        .accepted(&ann.event(9007, &[&["h", "cellar"]], ""))
        .await;
    let hide = ann.event(9002, &[&["h", "cellar"], &["private"]], "");
    client.accepted(&hide).await;
    let put = Token::upload(&ann, &shown).put(&far, &shown);
    ok(put.header("content-type", "video/webm").send().await);
    let hidden = Token::upload(&ann, &private).with(&["h", "cellar"]);
    ok(hidden.put(&far, &private).send().await);

    let mirror = |bytes: &[u8], url: &str| {
        let body = json!({ "url": url }).to_string();
        Token::upload(&ann, bytes)
            .request(&near, "/mirror")
            .body(body.as_bytes())
            .send_boxed()
    };
    let address = |bytes: &[u8]| format!("http://{FAR}.warren/{}.webm", hash(bytes));
    // Without a way nothing is reached.
    assert_eq!(mirror(&shown, &address(&shown)).await.status, 502);
    let way = Arc::new(Way {
        space: Arc::clone(far.space()),
        opened: AtomicU32::new(0),
    });
    near.space()
        .set_fetcher(Arc::clone(&way) as Arc<dyn Fetcher>);
    let copied = mirror(&shown, &address(&shown)).await;
    assert_eq!(copied.status, 201, "{copied:?}");
    assert_eq!(copied.json()["type"], "video/webm");
    let path = format!("/{}", hash(&shown));
    assert_eq!(near.get(&path).send().await.body, shown);
    assert_eq!(mirror(&shown, &address(&shown)).await.status, 200);

    let opened = way.opened.load(Ordering::SeqCst);
    assert_eq!(opened, 2);
    for outside in [
        format!("http://127.0.0.1:8080/{}", hash(&shown)),
        format!("https://cdn.example.com/{}", hash(&shown)),
        format!("http://{FAR}.warren.example.com/{}", hash(&shown)),
        format!("http://{FAR}.warren/"),
        "file:///etc/passwd".into(),
    ] {
        assert_eq!(mirror(&shown, &outside).await.status, 403, "{outside}");
    }
    let for_other = mirror(b"another", &address(&shown)).await;
    assert_eq!(for_other.status, 401);
    assert_eq!(way.opened.load(Ordering::SeqCst), opened);

    // What is private there, what is not there, and spaces that are not there look the same.
    let mut refused = Vec::new();
    for url in [
        address(&private),
        address(&private).replace(FAR, &"c".repeat(52)),
        address(&private).replace(FAR, SERVICE),
    ] {
        let answer = mirror(&private, &url).await;
        assert_eq!(answer.status, 502);
        refused.push(answer.without_date());
    }
    let ghost = mirror(b"ghost", &address(b"ghost")).await.without_date();
    assert!(refused.iter().all(|answer| *answer == ghost));
    let stranger = Token::upload(&Person::new(7), &shown)
        .request(&near, "/mirror")
        .body(json!({ "url": address(&shown) }).to_string().as_bytes());
    assert_eq!(stranger.send().await.status, 403);
}

#[tokio::test]
async fn an_answer_reaches_who_sends_before_looking_up() {
    let space = TestSpace::new();
    let mut stream = space
        .put("/upload", &film(200_000))
        .send_part(200_000)
        .await;
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Answer::parse(&answer).status, 401);
}

//! Files of private channels: who may see them, and that nobody else finds out that they are there.

use crate::blossom::{Token, hash, ok};
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

/// A private channel of Ann's.
async fn cellar(space: &TestSpace, ann: &Person, id: &str) {
    let mut client = space.connect_as(ann).await;
    client.accepted(&ann.event(9007, &[&["h", id]], "")).await;
    let private = ann.event(9002, &[&["h", id], &["private"], &["restricted"]], "");
    client.accepted(&private).await;
}

#[tokio::test]
async fn of_private_files_others_find_out_nothing() {
    let (space, ann, ben) = club().await;
    cellar(&space, &ann, "cellar").await;
    let stranger = Person::new(3);
    let secret = b"the plan of the surprise party".as_slice();
    let name = hash(secret);
    let ghost = hash(b"nobody ever uploaded this");
    let put = Token::upload(&ann, secret)
        .with(&["h", "cellar"])
        .put(&space, secret);
    let answer = put.send().await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["channel"], "cellar");

    let ann_reads = Token::get(&ann).for_here();
    let read = ann_reads.request(&space, &format!("/{name}")).send().await;
    assert_eq!((read.status, &*read.body), (200, secret));
    assert_eq!(read.header("cache-control"), "private, no-store");
    // A proof that names no server could be another server's to use: it opens nothing private.
    let unscoped = Token::get(&ann).request(&space, &format!("/{name}"));
    assert_eq!(unscoped.send().await.status, 404);
    let for_other = ann_reads.clone().with(&["x", &ghost]);
    let for_other = for_other.request(&space, &format!("/{name}"));
    assert_eq!(for_other.send().await.status, 404);

    // Every way to ask, by everybody else, for the secret and for a file that never was: the same answers.
    for token in [
        None,
        Some(Token::get(&ben).for_here()),
        Some(Token::get(&stranger).for_here()),
    ] {
        for method in ["GET", "HEAD"] {
            for (range, tag) in [(None, None), (Some("bytes=0-1"), None), (None, Some("*"))] {
                let mut answers = Vec::new();
                for file in [&name, &ghost] {
                    let mut request = space.request(method, &format!("/{file}"));
                    if let Some(token) = &token {
                        request = request.header("authorization", &token.header());
                    }
                    if let Some(range) = range {
                        request = request.header("range", range);
                    }
                    if let Some(tag) = tag {
                        request = request.header("if-none-match", tag);
                    }
                    let answer = request.send().await;
                    assert_eq!(answer.status, 404);
                    answers.push(answer.without_date());
                }
                assert_eq!(answers[0], answers[1], "{method}");
            }
        }
    }
    for token in [None, Some(Token::list(&ben).for_here())] {
        let mut request = space.get(&format!("/list/{}", ann.hex()));
        if let Some(token) = &token {
            request = request.header("authorization", &token.header());
        }
        assert_eq!(request.send().await.json(), json!([]));
        let mut request = space.get(&format!("/list/{}?cursor={name}", ann.hex()));
        if let Some(token) = &token {
            request = request.header("authorization", &token.header());
        }
        assert_eq!(request.send().await.json(), json!([]));
    }
    let mine = Token::list(&ann).for_here();
    let mine = mine.request(&space, &format!("/list/{}", ann.hex()));
    assert_eq!(mine.send().await.json().as_array().map(Vec::len), Some(1));

    // Deleting and reporting.
    for file in [&name, &ghost] {
        let delete = Token::delete(&ben, file).request(&space, &format!("/{file}"));
        assert_eq!(delete.send().await.status, 404);
        let report = ben.event(1984, &[&["x", file]], "");
        let body = serde_json::to_vec(&report).unwrap();
        let answer = space.put("/report", &body).send().await;
        assert_eq!((answer.status, &*answer.body), (200, &b"Thank you.\n"[..]));
    }
    let reports = Token::list(&ann).for_here().request(&space, "/report");
    assert_eq!(reports.send().await.json(), json!([]));

    // Uploading the same bytes elsewhere: new, as any other file is, with the uploader's own type and date. And it opens
    // the bytes there, not in the cellar.
    let ask = Token::upload(&ben, secret).request(&space, "/upload");
    let ask = ask
        .method("HEAD")
        .header("x-sha-256", &name)
        .header("x-content-length", &secret.len().to_string());
    let ask = ask.send().await;
    assert_eq!((ask.status, ask.header("upload-offset")), (200, "0".into()));
    space
        .now
        .store(START + 5, std::sync::atomic::Ordering::SeqCst);
    let dedup = Token::upload(&ben, secret)
        .put(&space, secret)
        .header("content-type", "text/plain");
    let dedup = dedup.send().await;
    assert_eq!(dedup.status, 201);
    assert_eq!(dedup.json()["type"], "text/plain");
    assert_eq!(dedup.json()["uploaded"], START + 5);
    assert_eq!(dedup.json()["channel"], Value::Null);
    let public = space.get(&format!("/{name}")).send().await;
    assert_eq!((public.status, &*public.body), (200, secret));
    assert_eq!(public.header("content-type"), "text/plain");
    // Stored once; when Ben deletes his, the cellar's stays, and is the cellar's only.
    assert_eq!(space.space().summary().file_bytes, secret.len() as u64);
    let delete = Token::delete(&ben, &name).request(&space, &format!("/{name}"));
    assert_eq!(delete.send().await.status, 204);
    assert_eq!(space.get(&format!("/{name}")).send().await.status, 404);
    let read = ann_reads.request(&space, &format!("/{name}")).send().await;
    assert_eq!(read.body, secret);
}

#[tokio::test]
async fn who_leaves_a_channel_loses_its_files() {
    let (space, ann, ben) = club().await;
    cellar(&space, &ann, "cellar").await;
    let upload = Token::upload(&ann, CAT).with(&["h", "cellar"]);
    ok(upload.put(&space, CAT).send().await);
    let path = format!("/{}", hash(CAT));
    let reads = |person: &Person| {
        Token::get(person)
            .for_here()
            .request(&space, &path)
            .send_boxed()
    };
    let bens = Token::upload(&ben, b"ben's").with(&["h", "cellar"]);
    assert_eq!(bens.put(&space, b"ben's").send().await.status, 403);
    let no_channel = Token::upload(&ben, b"ben's").with(&["h", "nowhere"]);
    let (one, other) = (
        bens.put(&space, b"ben's").send().await,
        no_channel.put(&space, b"ben's").send().await,
    );
    assert_eq!(one.without_date(), other.without_date());
    assert_eq!(reads(&ben).await.status, 404);
    let mut client = space.connect_as(&ann).await;
    let add = ann.event(9000, &[&["h", "cellar"], &["p", &ben.hex()]], "");
    client.accepted(&add).await;
    assert_eq!(reads(&ben).await.status, 200);
    ok(bens.put(&space, b"ben's").send().await);
    let remove = ann.event(9001, &[&["h", "cellar"], &["p", &ben.hex()]], "");
    client.accepted(&remove).await;
    assert_eq!(reads(&ben).await.status, 404);
    let own = format!("/{}", hash(b"ben's"));
    let own_read = Token::get(&ben).for_here().request(&space, &own);
    assert_eq!(own_read.send().await.status, 404);
    let list = Token::list(&ben).for_here();
    let list = list.request(&space, &format!("/list/{}", ben.hex()));
    assert_eq!(list.send().await.json(), json!([]));
    // What one uploaded, one can still delete; and the channel's admin can.
    let delete = Token::delete(&ben, &hash(b"ben's")).request(&space, &own);
    assert_eq!(delete.send().await.status, 204);
}

//! What a browser gets from a home, byte by byte: pages, forms, live changes, and what is refused.

use crate::common::http::{Answer, ask, between};
use crate::common::{PATIENCE, SERVICE, TestHome, Village, Wire, open_space};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A browser with one cookie and no script.
struct Browser<'a> {
    home: &'a TestHome,
    cookie: String,
    token: String,
}

impl<'a> Browser<'a> {
    async fn open(home: &'a TestHome) -> Self {
        let page = ask(home, "GET", &format!("/s/{SERVICE}/"), "", "").await;
        assert_eq!(page.status, 200, "{}", page.head);
        let cookie = between(&page.head, "set-cookie: ", ";").to_owned();
        let token = between(&page.body, "name=\"token\" value=\"", "\"").to_owned();
        Self {
            home,
            cookie,
            token,
        }
    }

    async fn page(&self) -> String {
        ask(
            self.home,
            "GET",
            &format!("/s/{SERVICE}/"),
            &format!("Cookie: {}\r\n", self.cookie),
            "",
        )
        .await
        .body
    }

    async fn post(&self, action: &str, form: &str) -> Answer {
        let headers = format!(
            "Cookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.cookie
        );
        ask(
            self.home,
            "POST",
            &format!("/s/{SERVICE}/{action}"),
            &headers,
            &format!("token={}&{form}", self.token),
        )
        .await
    }

    async fn write(&self, name: &str, text: &str) {
        let answer = self.post("send", &format!("name={name}&text={text}")).await;
        assert_eq!(answer.status, 303, "{}", answer.body);
    }

    /// Loads the page until it shows the words.
    async fn until(&self, words: &str) -> String {
        let looking = async {
            loop {
                let page = self.page().await;
                if page.contains(words) {
                    return page;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, looking)
            .await
            .unwrap_or_else(|_| panic!("the page never showed {words}"))
    }
}

#[tokio::test]
async fn what_is_written_at_one_home_is_read_at_another_without_script() {
    let village = Village::open().await;
    let (ann, cleo) = (
        Browser::open(&village.a).await,
        Browser::open(&village.c).await,
    );
    ann.write("Ann", "Hello+%3Cb%3Eeverybody%3C%2Fb%3E").await;
    let page = cleo.until("Hello &lt;b&gt;everybody&lt;/b&gt;").await;
    assert!(page.contains("Ann"), "{page}");
    cleo.write("Cleo", "Hello+Ann").await;
    ann.until("Hello Ann").await;
    assert!(
        ann.page().await.contains("value=\"Ann\""),
        "the name is remembered"
    );
    // Ten viewers, one connection to the space.
    for _ in 0..10 {
        Browser::open(&village.a).await;
    }
    assert_eq!(
        village
            .wire_a
            .opened
            .load(std::sync::atomic::Ordering::SeqCst),
        1
    );
}

#[tokio::test]
async fn what_is_said_within_a_second_stands_in_the_order_it_was_said() {
    let village = Village::open().await;
    let (ann, cleo) = (
        Browser::open(&village.a).await,
        Browser::open(&village.c).await,
    );
    let words: Vec<String> = (0..12).map(|number| format!("turn-{number}-end")).collect();
    for (number, word) in words.iter().enumerate() {
        let (speaker, listener) = if number % 2 == 0 {
            (&ann, &cleo)
        } else {
            (&cleo, &ann)
        };
        speaker.write("Somebody", word).await;
        listener.until(word).await;
        // The next one is not said in the same millisecond.
        let said = std::time::Instant::now();
        while said.elapsed() < std::time::Duration::from_millis(2) {
            tokio::task::yield_now().await;
        }
    }
    for browser in [&ann, &cleo] {
        let page = browser.page().await;
        let places: Vec<_> = words
            .iter()
            .map(|word| page.find(word.as_str()).unwrap())
            .collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}

#[tokio::test]
async fn changes_come_live_and_complete() {
    let dir = tempfile::tempdir().unwrap();
    let space = open_space(dir.path());
    let wire = Wire::to(&space);
    let home = TestHome::open(dir.path(), "a", &wire).await;
    let ann = Browser::open(&home).await;
    ann.write("Ann", "first").await;
    let mut stream = TcpStream::connect(home.address).await.unwrap();
    stream
        .write_all(
            format!(
                "GET /s/{SERVICE}/live HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n",
                ann.cookie
            )
            .as_bytes(),
        )
        .await
        .unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = async |words: &str| {
        loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            if line.contains(words) {
                return line;
            }
        }
    };
    assert!(next("first").await.starts_with("data: "));
    ann.write("Ann", "second").await;
    assert!(next("second").await.starts_with("data: "));
}

#[tokio::test]
async fn nothing_is_lost_while_the_space_is_away_not_even_over_a_restart() {
    let mut village = Village::open().await;
    let cookie = {
        let ann = Browser::open(&village.a).await;
        ann.write("Ann", "before").await;
        ann.until("Connected").await;
        village.wire_a.cut();
        ann.until("cannot be reached").await;
        ann.write("Ann", "in+the+dark").await;
        let page = ann.page().await;
        assert!(
            page.contains("not sent yet") && page.contains("in the dark"),
            "{page}"
        );
        ann.cookie
    };
    let cleo = Browser::open(&village.c).await;
    cleo.write("Cleo", "while+you+were+away").await;
    cleo.until("while you were away").await;
    assert!(!cleo.page().await.contains("in the dark"));
    village.a.close();
    village.a = TestHome::open(village.dir.path(), "a", &village.wire_a).await;
    village.wire_a.heal();
    cleo.until("in the dark").await;
    let again = Browser {
        home: &village.a,
        cookie,
        token: String::new(),
    };
    let page = again.until("while you were away").await;
    assert!(
        page.contains("in the dark") && page.contains("before"),
        "{page}"
    );
    again.until("Connected").await;
    assert!(!again.page().await.contains("not sent"));
}

#[tokio::test]
async fn a_cut_while_the_page_is_open_is_caught_up() {
    let village = Village::open().await;
    let (ann, cleo) = (
        Browser::open(&village.a).await,
        Browser::open(&village.c).await,
    );
    for round in 0..3 {
        village.wire_c.cut();
        cleo.until("cannot be reached").await;
        ann.write("Ann", &format!("round{round}")).await;
        village.wire_c.heal();
        cleo.until(&format!("round{round}")).await;
    }
}

/// Each answer sets a cookie, and the browser keeps the last: the first tab's form was made for a cookie that is gone.
#[tokio::test]
async fn two_first_tabs_opened_at_once_can_both_write() {
    let dir = tempfile::tempdir().unwrap();
    let space = open_space(dir.path());
    let home = TestHome::open(dir.path(), "a", &Wire::to(&space)).await;
    let (first, second) = tokio::join!(Browser::open(&home), Browser::open(&home));
    assert_ne!(first.token, second.token);
    let path = format!("/s/{SERVICE}/send");
    let form = format!("token={}&name=Ann&text=first+tab", first.token);
    let as_the_browser = format!("Cookie: {}\r\nOrigin: http://localhost\r\n", second.cookie);
    let sent = ask(&home, "POST", &path, &as_the_browser, &form).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    second.until("first tab").await;
    let without_origin = format!("Cookie: {}\r\n", second.cookie);
    let refused = ask(&home, "POST", &path, &without_origin, &form).await;
    assert_eq!(
        refused.status, 403,
        "who does not say its origin needs the right token"
    );
}

#[tokio::test]
async fn a_space_without_a_picture_is_not_shown_with_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    let space = open_space(dir.path());
    let home = TestHome::open(dir.path(), "a", &Wire::to(&space)).await;
    let start = ask(&home, "GET", "/", "", "").await;
    let picture = between(&start.body, "src=\"", "\"");
    let answer = ask(&home, "GET", picture, "", "").await;
    assert_eq!(answer.status, 200, "{picture}");
    assert!(answer.head.contains("image/svg+xml"), "{}", answer.head);
    let plain = picture.split('?').next().unwrap();
    assert_eq!(ask(&home, "GET", plain, "", "").await.status, 404);
}

#[tokio::test]
async fn made_up_addresses_do_not_keep_people_from_a_space_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let space = open_space(dir.path());
    let home = TestHome::open(dir.path(), "a", &Wire::to(&space)).await;
    for n in 0..100_u32 {
        let made_up = data_encoding::BASE32_NOPAD
            .encode(blake3::hash(&n.to_be_bytes()).as_bytes())
            .to_lowercase();
        let answer = ask(&home, "GET", &format!("/s/{made_up}/"), "", "").await;
        assert_eq!(answer.status, 404, "{n}: {}", answer.body);
    }
    let ann = Browser::open(&home).await;
    ann.write("Ann", "still+here").await;
    ann.until("still here").await;
}

#[tokio::test]
async fn what_comes_from_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let space = open_space(dir.path());
    let home = TestHome::open(dir.path(), "a", &Wire::to(&space)).await;
    let ann = Browser::open(&home).await;
    let path = format!("/s/{SERVICE}/send");
    let form = format!("token={}&name=Eve&text=evil", ann.token);
    let cookie = format!("Cookie: {}\r\n", ann.cookie);
    assert_eq!(
        ask(&home, "POST", &path, "", &form).await.status,
        403,
        "no cookie"
    );
    assert_eq!(
        ask(
            &home,
            "POST",
            &path,
            &cookie,
            "token=wrong&name=Eve&text=evil"
        )
        .await
        .status,
        403,
        "wrong token"
    );
    assert_eq!(
        ask(
            &home,
            "POST",
            &path,
            &format!("{cookie}Origin: http://evil.example\r\n"),
            &form
        )
        .await
        .status,
        403,
        "other origin"
    );
    assert_eq!(
        ask(
            &home,
            "POST",
            &path,
            &format!("{cookie}Sec-Fetch-Site: cross-site\r\n"),
            &form
        )
        .await
        .status,
        403
    );
    assert_eq!(
        ask(&home, "GET", "/", "Host: evil.example\r\n", "")
            .await
            .status,
        404,
        "a rebound name"
    );
    assert_eq!(ask(&home, "GET", "/nowhere", "", "").await.status, 404);
    assert_eq!(ask(&home, "GET", "/s/short/", "", "").await.status, 404);
    assert_eq!(
        ask(
            &home,
            "GET",
            "/",
            "Host: localhost\r\nHost: evil.example\r\n",
            ""
        )
        .await
        .status,
        400,
        "two names"
    );
    let nowhere = format!("/s/{}/", "b".repeat(52));
    assert_eq!(ask(&home, "GET", &nowhere, "", "").await.status, 404);
    let headers = format!("{cookie}Content-Type: application/x-www-form-urlencoded\r\n");
    let lost = ask(&home, "POST", &format!("{nowhere}send"), &headers, &form).await;
    assert_eq!(lost.status, 404, "a space nobody knows takes no words");
    assert!(lost.body.contains("nothing was sent"), "{}", lost.body);
    assert_eq!(
        ask(&home, "DELETE", &format!("/s/{SERVICE}/"), "", "")
            .await
            .status,
        405
    );
    assert_eq!(
        ask(&home, "GET", &format!("/s/{SERVICE}"), "", "")
            .await
            .status,
        303
    );
    assert_eq!(ann.post("send", "name=Ann&text=").await.status, 400);
    assert_eq!(ann.post("send", "name=+&text=hello").await.status, 400);
    let long = format!("name={}&text=hello", "x".repeat(41));
    assert_eq!(ann.post("send", &long).await.status, 400);
    assert_eq!(
        ann.post("send", &format!("name=Ann&text={}", "x".repeat(4001)))
            .await
            .status,
        400
    );
    assert_eq!(
        ann.post("send", &format!("name=Ann&text={}", "x".repeat(80_000)))
            .await
            .status,
        413
    );
    let page = ask(&home, "GET", "/", "", "").await;
    assert!(
        page.body.contains("Garden &lt;club&gt;") && page.body.contains("at Ann&#39;s home"),
        "{}",
        page.body
    );
    assert!(
        page.head
            .contains("content-security-policy: default-src 'none'")
    );
    assert!(!ann.page().await.contains("evil"));
    for word in [
        "relay",
        "event",
        "npub",
        "nsec",
        "nostr",
        "signature",
        "protocol",
        "node",
        " key",
    ] {
        assert!(
            !words(&page.body).contains(word) && !words(&ann.page().await).contains(word),
            "{word} is on the page"
        );
    }
}

/// What a person sees of a page: the text without tags, style and script.
fn words(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1;
    let body = body
        .split_once("<script")
        .map_or(body, |(before, _)| before);
    body.split('<')
        .filter_map(|part| part.split_once('>'))
        .map(|(_, text)| text.to_lowercase())
        .collect()
}

#[tokio::test]
async fn a_page_of_elsewhere_may_describe_and_manage_the_space_for_who_signs() {
    let dir = tempfile::tempdir().unwrap();
    let space = open_space(dir.path());
    let home = TestHome::open(dir.path(), "a", &Wire::to(&space)).await;
    let place = format!("/s/{SERVICE}/");
    let origin = "Origin: https://panel.example\r\n";
    let asks = format!(
        "{origin}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-type\r\n"
    );
    let call = format!("{origin}Content-Type: application/nostr+json+rpc\r\n");
    let accept = format!("{origin}Accept: application/nostr+json\r\n");
    let body = r#"{"method":"supportedmethods","params":[]}"#;
    for (method, headers, body, status) in [
        ("OPTIONS", &asks, "", 204),
        // Without a proof: but the page may read why.
        ("POST", &call, body, 401),
        ("GET", &accept, "", 200),
    ] {
        let answer = ask(&home, method, &place, headers, body).await;
        assert_eq!(answer.status, status, "{method}: {}", answer.head);
        let allows = |name: &str| {
            let name = format!("access-control-allow-{name}: ");
            between(&answer.head, &name, "\r\n").to_owned()
        };
        assert_eq!(allows("origin"), "*", "{method}");
        assert!(allows("methods").contains("post"), "{method}");
        let named = allows("headers");
        assert!(named.contains("authorization") && named.contains("content-type"));
        assert!(!answer.head.contains("access-control-allow-credentials"));
    }
    // What is the home's own is for its own pages.
    for path in ["/", "/api/1/session", &format!("/s/{SERVICE}/send")] {
        let answer = ask(&home, "OPTIONS", path, &asks, "").await;
        assert!(answer.status >= 400, "{path}");
        assert!(!answer.head.contains("access-control"), "{path}");
    }
}

#[tokio::test]
async fn programs_reach_the_space_through_any_home() {
    let dir = tempfile::tempdir().unwrap();
    let space = open_space(dir.path());
    let wire = Wire::to(&space);
    let home = TestHome::open(dir.path(), "a", &wire).await;
    let accept = "Accept: application/nostr+json\r\n";
    for (host, path) in [
        ("localhost:80".to_owned(), format!("/s/{SERVICE}/")),
        (format!("{SERVICE}.localhost:80"), "/".to_owned()),
    ] {
        let answer = ask(
            &home,
            "GET",
            &path,
            &format!("Host: {host}\r\n{accept}"),
            "",
        )
        .await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.body.contains("\"supported_nips\""),
            "{}",
            answer.body
        );
        let upgrade = format!(
            "Host: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut stream = TcpStream::connect(home.address).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\n{upgrade}").as_bytes())
            .await
            .unwrap();
        let mut got = Vec::new();
        while !String::from_utf8_lossy(&got).contains("[\"AUTH\",") {
            assert_ne!(
                tokio::time::timeout(PATIENCE, stream.read_buf(&mut got))
                    .await
                    .unwrap()
                    .unwrap(),
                0
            );
        }
        assert!(got.starts_with(b"HTTP/1.1 101"));
    }
    wire.cut();
    assert_eq!(
        ask(&home, "GET", &format!("/s/{SERVICE}/"), accept, "")
            .await
            .status,
        502
    );
}

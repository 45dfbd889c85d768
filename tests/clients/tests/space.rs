//! One space through two homes, `WARREN_A` and `WARREN_C`.

use nostr_sdk::prelude::*;
use warren_clients::{PATIENCE, Person};

async fn members() -> (Person, Person) {
    let (ann, ben) = (
        Person::connect("WARREN_A").await,
        Person::connect("WARREN_C").await,
    );
    for person in [&ann, &ben] {
        let join = person.event(9021, &[&["h", "general"]], "");
        person.send(&join).await.unwrap();
    }
    (ann, ben)
}

fn messages(author: &Person) -> Filter {
    Filter::new()
        .kind(Kind::from(9))
        .author(author.keys.public_key())
        .custom_tag(SingleLetterTag::lowercase(Alphabet::H), "general")
}

#[tokio::test]
async fn nip01_a_message_written_through_a_is_heard_at_c_and_stays() {
    let (ann, ben) = members().await;
    let mut heard = ben.client.notifications();
    ben.client.subscribe(messages(&ann), None).await.unwrap();
    let said = ann.write("general", "hello from Rust").await.unwrap();
    let first = async {
        loop {
            if let RelayPoolNotification::Event { event, .. } = heard.recv().await.unwrap() {
                return *event;
            }
        }
    };
    let first = tokio::time::timeout(PATIENCE, first).await.unwrap();
    assert_eq!(first, said);
    assert_eq!(ben.ask(messages(&ann)).await, [said]);
}

#[tokio::test]
async fn nip42_who_may_not_is_told_why() {
    let stranger = Person::connect("WARREN_A").await;
    let reason = stranger.write("general", "let me write").await.unwrap_err();
    assert!(reason.contains("restricted"), "{reason}");
    let (ann, _) = members().await;
    assert!(ann.write("no-such-channel", "anybody?").await.is_err());
}

#[tokio::test]
async fn nip29_a_private_channel_is_for_its_members() {
    let (ann, ben) = members().await;
    let id = format!("rust-{}", &ann.keys.public_key().to_hex()[..8]);
    let h: &[&str] = &["h", &id];
    ann.send(&ann.event(9007, &[h], "")).await.unwrap();
    let described = ann.event(
        9002,
        &[
            h,
            &["name", "Rust"],
            &["private"],
            &["closed"],
            &["restricted"],
        ],
        "",
    );
    ann.send(&described).await.unwrap();
    let secret = ann.write(&id, "a secret").await.unwrap();
    assert!(ben.ask(Filter::new().id(secret.id)).await.is_empty());
    let ben_is = ben.keys.public_key().to_hex();
    ann.send(&ann.event(9000, &[h, &["p", &ben_is]], ""))
        .await
        .unwrap();
    let of_channel = Filter::new()
        .custom_tag(SingleLetterTag::lowercase(Alphabet::H), &id)
        .kind(Kind::from(9));
    assert_eq!(ben.ask(of_channel).await, [secret]);
}

#[tokio::test]
async fn nip77_what_a_device_lacks_comes_by_comparing() {
    let (ann, ben) = members().await;
    let mut said = Vec::new();
    for n in 0..20 {
        said.push(
            ann.write("general", &format!("message {n}"))
                .await
                .unwrap()
                .id,
        );
    }
    let options = SyncOptions::default();
    let output = ben.client.sync(messages(&ann), &options).await.unwrap();
    assert!(output.failed.is_empty(), "{:?}", output.failed);
    let mut received: Vec<EventId> = output.val.received.into_iter().collect();
    received.sort();
    said.sort();
    assert_eq!(received, said);
}

#[tokio::test]
async fn nip17_a_private_message_opens_for_its_recipient() {
    let (ann, ben) = members().await;
    let ben_is = ben.keys.public_key();
    let wrap = EventBuilder::private_msg(&ann.keys, ben_is, "only for you", [])
        .await
        .unwrap();
    ann.send(&wrap).await.unwrap();
    let mine = Filter::new()
        .kind(Kind::GiftWrap)
        .pubkey(ben.keys.public_key());
    let found = ben.ask(mine).await;
    assert_eq!(found.len(), 1);
    let gift = UnwrappedGift::from_gift_wrap(&ben.keys, &found[0])
        .await
        .unwrap();
    assert_eq!(gift.rumor.content, "only for you");
    assert_eq!(gift.sender, ann.keys.public_key());
    assert!(ann.ask(Filter::new().id(wrap.id)).await.is_empty());
}

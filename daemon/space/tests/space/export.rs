//! A space that is read whole and put together elsewhere.

use crate::common::{Person, SERVICE};
use warren_space::export::{Exported, ImportError, Importer};
use warren_space::{Limits, Space, SpaceConfig, system_clock};

fn config(dir: &std::path::Path) -> SpaceConfig {
    SpaceConfig {
        dir: dir.to_owned(),
        name: "Moved".into(),
        about: String::new(),
        service: SERVICE.into(),
        owner: None,
        limits: Limits::default(),
        stores: warren_space::stores::Stores::default(),
    }
}

fn all(space: &Space) -> Vec<Exported> {
    let mut found = Vec::new();
    let mut part = Some(0);
    while let Some(number) = part {
        let (events, next) = space.export(number).unwrap();
        found.extend(events);
        part = next;
    }
    found
}

#[test]
fn what_was_deleted_while_a_space_was_read_is_deleted_where_it_is_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let (ann, bob) = (Person::new(1), Person::new(2));
    let first = ann.event(9, &[&["h", "c"]], "read before it was deleted");
    let second = ann.event(9, &[&["h", "c"]], "stays");
    let deletion = ann.event(5, &[&["e", &first.id.to_hex()]], "");
    let by_another = bob.event(5, &[&["e", &second.id.to_hex()]], "");
    let mut importer = Importer::begin(config(dir.path()), system_clock()).unwrap();
    for event in [&first, &second, &first] {
        let json = serde_json::to_string(event).unwrap();
        importer.add(&json, None).unwrap();
    }
    for event in [&deletion, &by_another] {
        let json = serde_json::to_string(event).unwrap();
        importer.add(&json, Some("c")).unwrap();
    }
    importer.finish().unwrap();
    let space = Space::open(config(dir.path()), system_clock()).unwrap();
    let events = all(&space);
    let text: String = events.iter().map(|event| event.json.as_str()).collect();
    assert!(!text.contains("read before it was deleted"), "{text}");
    assert_eq!(text.matches("stays").count(), 1);
    let channel = |id: &str| {
        let found = events.iter().find(|event| event.json.contains(id));
        found.and_then(|event| event.channel.clone())
    };
    assert_eq!(channel("\"stays\""), None, "its tags say it");
    assert_eq!(channel(&by_another.id.to_hex()), Some("c".into()));
}

#[test]
fn events_that_were_changed_forged_or_are_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let event = Person::new(1).event(9, &[&["h", "c"]], "said");
    let json = serde_json::to_string(&event).unwrap();
    let mut importer = Importer::begin(config(dir.path()), system_clock()).unwrap();
    let mut add = |json: &str| importer.add(json, None).unwrap_err();
    assert!(matches!(
        add(&json.replace("said", "sold")),
        ImportError::Id(_)
    ));
    let other = Person::new(1).event(9, &[&["h", "c"]], "other");
    let forged = json.replace(&event.sig.to_string(), &other.sig.to_string());
    assert!(matches!(add(&forged), ImportError::Signature(_)));
    assert!(matches!(add("{}"), ImportError::NotAnEvent(_)));
    let endless = format!("{json}{}", " ".repeat(2 << 20));
    assert!(matches!(add(&endless), ImportError::NotAnEvent(_)));
    assert!(matches!(
        importer.add(&json, Some("a\nb")),
        Err(ImportError::Channel(_))
    ));
    importer.add(&json, None).unwrap();
    assert_eq!(importer.finish().unwrap(), 1);
}

#[test]
fn private_messages_stay_private_where_a_space_is_put_together() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ann, ben) = (Person::new(1), Person::new(2));
    let wrap = ann.event(1059, &[&["p", &ben.hex()]], "sealed");
    let erased = ben.event(5, &[&["e", &"a".repeat(64)]], "of the mail");
    let mut importer = Importer::begin(config(first.path()), system_clock()).unwrap();
    let json = |event| serde_json::to_string(event).unwrap();
    importer.add(&json(&wrap), None).unwrap();
    importer.add(&json(&erased), Some("\u{1}mail")).unwrap();
    importer.finish().unwrap();
    let events = all(&Space::open(config(first.path()), system_clock()).unwrap());
    let told = |events: &[Exported]| {
        let found = events
            .iter()
            .find(|event| event.json.contains("of the mail"));
        found.and_then(|event| event.channel.clone())
    };
    assert_eq!(told(&events), Some("\u{1}mail".into()));
    let mut importer = Importer::begin(config(second.path()), system_clock()).unwrap();
    for event in &events {
        importer.add(&event.json, event.channel.as_deref()).unwrap();
    }
    importer.finish().unwrap();
    let again = all(&Space::open(config(second.path()), system_clock()).unwrap());
    assert_eq!(told(&again), told(&events));
    assert!(again.iter().any(|event| event.json == json(&wrap)));
}

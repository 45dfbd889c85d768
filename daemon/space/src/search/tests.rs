use nostr::filter::{Filter, SingleLetterTag};
use proptest::prelude::*;

use super::*;
use crate::testing::Person;

fn message(content: &str) -> Event {
    Person::new(1).event(9, 100, &[&["h", "c"]], content)
}

fn found(search: &str, content: &str) -> bool {
    Search::parse(search).matches(&message(content))
}

#[test]
fn nip50_words_are_found_whatever_their_case_accents_and_order() {
    let text = "Wer hat eine große Leiter für den Äpfelbaum? Ёлка, naïve CAFÉ, ﬁne, Ｆｕｌｌ";
    for search in [
        "leiter",
        "LEITER große",
        "apfelbaum",
        "äpfelbaum",
        "елка",
        "naive cafe",
        "fine full",
        "\"große Leiter\"",
        "für \"den äpfelbaum\"",
        "leit*",
        "  ",
        "",
        "?!",
        "wer: leiter",
    ] {
        assert!(found(search, text), "{search}");
    }
    for search in [
        "leit",
        "leitern",
        "\"leiter große\"",
        "le*x",
        "hund",
        "leiter hund",
        "\"leiter",
    ] {
        assert_eq!(found(search, text), search == "\"leiter", "{search}");
    }
    assert!(found("שלום", "שָׁלוֹם"), "vowel points play no part");
    assert!(found("हिन्दी", "यह हिन्दी है"));
}

#[test]
fn nip50_text_without_spaces_is_found_by_one_character_and_by_many() {
    for (search, text) in [
        ("東京", "私は東京都に住んでいます"),
        ("東京都", "私は東京都に住んでいます"),
        ("都", "東京都"),
        ("京", "東京都"),
        ("カタカナ", "ｶﾀｶﾅで書く"),
        ("서울", "나는 서울에서 산다"),
        ("กรุงเทพ", "ฉันอยู่กรุงเทพมหานคร"),
        ("iphone15 東京", "東京でiPhone15を買う"),
        ("\"red 東京\"", "a red 東京都"),
    ] {
        assert!(found(search, text), "{search} in {text}");
    }
    for (search, text) in [
        ("京東", "東京都"),
        ("東都", "東京都"),
        ("東京都", "東京と京都"),
        ("大", "東京都"),
    ] {
        assert!(!found(search, text), "{search} in {text}");
    }
}

#[test]
fn nip50_only_text_for_people_is_searched() {
    let person = Person::new(1);
    let search = Search::parse("ladder");
    for kind in [1, 9, 11, 1068, 1111, 30023] {
        assert!(
            search.matches(&person.event(kind, 1, &[], "a ladder")),
            "{kind}"
        );
        let title = person.event(kind, 1, &[&["title", "The ladder"]], "");
        assert!(search.matches(&title), "{kind}");
    }
    for kind in [5, 7, 1059, 10002] {
        assert!(
            !search.matches(&person.event(kind, 1, &[], "a ladder")),
            "{kind}"
        );
    }
    let profile = |json: &str| person.event(0, 1, &[], json);
    assert!(search.matches(&profile(r#"{"name":"Ladder Man"}"#)));
    assert!(search.matches(&profile(r#"{"display_name":"Ladder"}"#)));
    assert!(!search.matches(&profile(r#"{"about":"ladder"}"#)));
    assert!(!search.matches(&profile("ladder")));
}

#[test]
fn nip50_what_a_message_has_is_told_from_tags_and_addresses() {
    let person = Person::new(1);
    let has = |what: &str, event: &Event| Search::parse(&format!("has:{what}")).matches(event);
    let cases: [(&str, Event); 8] = [
        ("link", message("see https://example.com/page")),
        ("link image", message("https://example.com/a/Photo.JPG?w=1")),
        ("link video", message("(https://example.com/v.mp4)")),
        ("link file", message("https://example.com/plan.pdf#2")),
        (
            "image",
            person.event(9, 1, &[&["imeta", "url http://x/abc", "m image/png"]], ""),
        ),
        (
            "file",
            person.event(
                9,
                1,
                &[&["imeta", "url http://x/abc", "m application/pdf"]],
                "",
            ),
        ),
        ("poll", person.event(1068, 1, &[], "When?")),
        ("", message("example.com/a.jpg is no link")),
    ];
    for (what, event) in &cases {
        for name in ["link", "image", "video", "file", "poll"] {
            assert_eq!(
                has(name, event),
                what.split(' ').any(|has| has == name),
                "{name} in {}",
                event.content
            );
        }
    }
    assert!(
        found("has:cat", "anything"),
        "what is not known is read over"
    );
}

#[test]
fn nip50_operators_narrow_the_filter_and_unknown_ones_are_read_over() {
    let (ann, ben) = (Person::new(1).key(), Person::new(2).key());
    let filter = |search: String| {
        let mut filter = Filter::new().search(search);
        apply_operators(&mut filter);
        filter
    };
    let got = filter(format!(
        "hello from:{} in:garden after:2026-01-01 before:1800000000 sentiment:negative",
        ann.to_hex()
    ));
    assert_eq!(got.authors, Some([ann].into()));
    assert_eq!(
        got.generic_tags[&SingleLetterTag::LOWERCASE_H],
        ["garden".to_owned()].into()
    );
    assert_eq!(got.since.map(|time| time.as_secs()), Some(1_767_225_600));
    assert_eq!(got.until.map(|time| time.as_secs()), Some(1_799_999_999));
    assert_eq!(Search::of(&got), Some(Search::parse("hello")));
    use nostr::nips::nip19::ToBech32;
    let npub = ben.to_bech32().unwrap();
    let got = filter(format!("from:{npub} from:{} from:bob", ann.to_hex()));
    assert_eq!(got.authors, Some([ann, ben].into()));
    let mut narrower = Filter::new().author(ann).search(format!("from:{npub}"));
    apply_operators(&mut narrower);
    assert_eq!(narrower.authors, Some([].into()), "both must hold");
    assert_eq!(filter("x before:then after:".into()).until, None);
    let mut plain = Filter::new();
    apply_operators(&mut plain);
    assert_eq!(plain, Filter::new());
    assert_eq!(Search::parse("https://example.com").phrases.len(), 3);
}

#[test]
fn nip50_long_searches_are_cut() {
    let long = (0..1000).map(|n| format!("w{n} ")).collect::<String>();
    let search = Search::parse(&long);
    assert_eq!(search.phrases.len(), SEARCH_WORDS);
    assert!(Search::parse(&"x".repeat(100_000)).phrases[0].words[0].len() <= 40);
    let text = format!("{} end", "many words ".repeat(10_000));
    assert!(text_of(&message(&text)).chars().count() <= TEXT_CHARS);
}

proptest! {
    #[test]
    fn a_piece_of_a_text_finds_the_text(text in "[a-cÄéß東京都カが ก-ค서울0-2,\"*:]{1,40}", from in 0usize..40, length in 1usize..40) {
        // Cut at spaces, as people do: a piece of a word is another word.
        let parts: Vec<&str> = text.split([' ', '"', '*', ':']).collect();
        let piece = parts.iter().skip(from % parts.len()).take(length).copied().collect::<Vec<_>>().join(" ");
        prop_assert!(found(&piece, &text), "{piece} in {text}");
    }

    #[test]
    fn no_text_makes_the_search_panic(search in ".{0,80}", content in ".{0,80}") {
        let mut filter = Filter::new().search(search);
        apply_operators(&mut filter);
        let _ = wants(&filter, &message(&content));
    }
}

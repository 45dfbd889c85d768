//! How SQLite walks for each kind of question: along one index, in the order of the answer, so that it stops at the limit.

use nostr::filter::{Filter, SingleLetterTag};
use nostr::types::Timestamp;
use rusqlite::params_from_iter;

use super::Index;
use crate::record::ChannelId;
use crate::store::index_sql::{COLUMNS, Plan, Reader};
use crate::store::{Cursor, Query};
use crate::testing::{Person, channel};

/// What SQLite says it does.
fn walked(index: &Index, filter: &Filter, without: &[ChannelId], after: Option<Cursor>) -> String {
    let query = Query {
        filter,
        without,
        after,
        limit: 20,
        bytes: usize::MAX,
        now: 1000,
    };
    let plan = Plan::of(&query, Reader::Sqlite);
    let first = plan.values.as_ref().map(|values| values[0]);
    let values = first.iter().chain(&plan.rest.values);
    let text = format!("EXPLAIN QUERY PLAN {}", plan.statement(COLUMNS));
    let mut statement = index.connection.prepare(&text).unwrap();
    let steps = statement
        .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
        .unwrap();
    steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}

#[test]
fn every_question_walks_one_index_in_the_order_of_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(&folder.path().join("index.sqlite")).unwrap();
    let (ann, ben) = (Person::new(1).key(), Person::new(2).key());
    let e = SingleLetterTag::LOWERCASE_E;
    let h = SingleLetterTag::LOWERCASE_H;
    let (kind, kinds) = ([9.into()], [9.into(), 11.into()]);
    let cases = [
        (Filter::new().author(ann), "events_author (author8=?"),
        (
            Filter::new().authors([ann, ben]),
            "events_author (author8=?",
        ),
        (
            Filter::new().author(ann).kinds(kind),
            "events_author (author8=?",
        ),
        (
            Filter::new().author(ann).custom_tag(h, "general"),
            "t USING PRIMARY KEY (tag8=?",
        ),
        (
            Filter::new().author(ann).kinds([62.into()]),
            "events_kind (kind=?",
        ),
        (
            Filter::new().author(ann).kinds([30_000.into()]),
            "events_kind (kind=?",
        ),
        (Filter::new().kinds(kind), "events_kind (kind=?"),
        (Filter::new().kinds(kinds), "events_kind (kind=?"),
        (
            Filter::new().kinds(kind).custom_tag(h, "general"),
            "t USING PRIMARY KEY (tag8=?",
        ),
        (
            Filter::new()
                .author(ann)
                .custom_tag(e, "x")
                .custom_tag(h, "general"),
            "t USING PRIMARY KEY (tag8=?",
        ),
        (Filter::new(), "INDEX events_time"),
    ];
    let cursor = Cursor {
        created_at: 500,
        id: nostr::event::EventId::from_byte_array([7; 32]),
    };
    for (filter, index_name) in cases {
        let with_dates = filter
            .clone()
            .since(Timestamp::from_secs(1))
            .until(Timestamp::from_secs(900));
        for filter in [filter, with_dates] {
            for without in [&[][..], &[channel("shed")][..]] {
                for after in [None, Some(cursor)] {
                    let walked = walked(&index, &filter, without, after);
                    let (first, _) = walked.split_once("; ").unwrap_or((&walked, ""));
                    assert!(first.contains(index_name), "{filter:?}: {walked}");
                    assert!(!walked.contains("TEMP B-TREE"), "{filter:?}: {walked}");
                }
            }
        }
    }
    // Of these one row is found for each number.
    let by_id = Filter::new().id(cursor.id).author(ann).kinds(kind);
    let by_address = Filter::new()
        .authors([ann, ben])
        .kinds([0.into(), 10_002.into()]);
    for (filter, index_name) in [
        (by_id, "events_id (id8=?"),
        (by_address, "events_address (address8=?"),
    ] {
        let walked = walked(&index, &filter, &[], None);
        assert!(walked.contains(index_name), "{walked}");
    }
}

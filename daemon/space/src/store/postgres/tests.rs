//! What a server can do to a space, and what a space leaves on it.

use std::path::Path;
use std::sync::Arc;

use nostr::event::EventId;
use nostr::filter::Filter;

use super::PostgresStore;
use super::schema::VERSION;
use crate::record::StoredEvent;
use crate::store::{Query, Store, StoreError};
use crate::stores::{Place, Postgres};
use crate::testing::{Person, channel, servers::PostgresServer};

/// A schema that no other test has.
pub fn new_schema() -> String {
    let name = nostr::key::Keys::generate().public_key().to_hex()[..32].to_owned();
    Place {
        name,
        ..Place::default()
    }
    .schema()
}

pub fn at(server: &PostgresServer) -> Postgres {
    Postgres {
        address: server.address(),
        password: None,
    }
}

fn open(server: &PostgresServer, schema: &str) -> PostgresStore {
    PostgresStore::open(&at(server), schema).unwrap()
}

fn refused(server: &PostgresServer, schema: &str) -> String {
    match PostgresStore::open(&at(server), schema) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

fn message(at: u64, content: &str) -> Arc<StoredEvent> {
    Arc::new(StoredEvent {
        event: Person::new(1).event(9, at, &[&["h", "c"]], content),
        channel: Some(channel("c")),
    })
}

fn found(store: &dyn Store, filter: &Filter) -> Result<Vec<EventId>, StoreError> {
    let query = Query {
        filter,
        without: &[],
        after: None,
        limit: 100,
        bytes: usize::MAX,
        now: 0,
    };
    let page = store.query(&query)?;
    Ok(page.events.iter().map(|event| event.event.id).collect())
}

#[test]
fn a_space_is_open_once_and_two_spaces_of_a_database_do_not_mix() {
    let server = PostgresServer::shared();
    let (one, two) = (new_schema(), new_schema());
    let first = open(server, &one);
    let event = message(100, "in the first");
    first.append(&[Arc::clone(&event)], &[]).unwrap();
    let second = open(server, &two);
    assert_eq!(second.stats().events, 0);
    assert_eq!(found(&second, &Filter::new()).unwrap(), []);
    let other = message(101, "in the second");
    second.append(&[Arc::clone(&other)], &[]).unwrap();
    assert_eq!(found(&first, &Filter::new()).unwrap(), [event.event.id]);
    let error = refused(server, &one);
    assert!(error.contains("another warrend"), "{error}");
    first.close();
    assert!(first.append(&[message(102, "late")], &[]).is_err());
    assert_eq!(open(server, &one).stats().events, 1);
    PostgresStore::remove(&at(server), &two).unwrap_err(); // it is open
    drop(second);
    PostgresStore::remove(&at(server), &two).unwrap();
    assert_eq!(open(server, &two).stats().events, 0);
}

#[test]
fn after_the_server_was_away_everything_acknowledged_is_there_and_it_goes_on() {
    let server = PostgresServer::start();
    let schema = new_schema();
    let store = open(&server, &schema);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for n in 0..5 {
            let event = message(100 + round * 10 + n, "words");
            store.append(&[Arc::clone(&event)], &[]).unwrap();
            acknowledged.insert(0, event.event.id);
        }
        if round == 0 {
            server.stop();
            let error = store.append(&[message(999, "refused")], &[]).unwrap_err();
            assert!(
                error.to_string().contains("PostgreSQL") || error.to_string().contains("connect"),
                "{error}"
            );
            assert!(found(&store, &Filter::new()).is_err());
        }
        server.restart();
        assert_eq!(found(&store, &Filter::new()).unwrap(), acknowledged);
        assert_eq!(store.stats().events, acknowledged.len() as u64);
    }
    // Somebody else had the space while the server was away from this one.
    server.restart();
    let other = open(&server, &schema);
    other.append(&[message(500, "by another")], &[]).unwrap();
    drop(other);
    let error = store.append(&[message(501, "too late")], &[]).unwrap_err();
    assert!(error.to_string().contains("meanwhile"), "{error}");
    assert!(found(&store, &Filter::new()).is_err());
}

/// Whether a file of the server's tables holds these bytes.
fn tables_hold(server: &PostgresServer, bytes: &[u8]) -> bool {
    fn any(path: &Path, bytes: &[u8]) -> bool {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(Result::unwrap).any(|entry| {
            if entry.file_type().unwrap().is_dir() {
                return any(&entry.path(), bytes);
            }
            let held = std::fs::read(entry.path()).unwrap_or_default();
            held.windows(bytes.len()).any(|window| window == bytes)
        })
    }
    server.sql("CHECKPOINT");
    any(&server.directory().join("data/base"), bytes)
}

#[test]
fn what_is_erased_leaves_the_files_of_the_tables_too() {
    let server = PostgresServer::start();
    let store = open(&server, &new_schema());
    let (kept, secret) = (
        message(100, "ordinary words"),
        message(101, "the zanzibarian secret"),
    );
    store
        .append(&[Arc::clone(&kept), Arc::clone(&secret)], &[])
        .unwrap();
    assert!(tables_hold(&server, b"zanzibarian"), "the control");
    assert!(store.append(&[], &[secret.event.id]).unwrap().erased);
    let search = Filter::new().search("zanzibarian");
    assert_eq!(found(&store, &search).unwrap(), []);
    store.maintain().unwrap();
    assert!(!tables_hold(&server, b"zanzibarian"));
    assert_eq!(found(&store, &Filter::new()).unwrap(), [kept.event.id]);
}

#[test]
fn tables_of_a_newer_program_and_servers_that_lose_are_refused() {
    let server = PostgresServer::shared();
    let schema = new_schema();
    drop(open(server, &schema));
    server.sql(&format!(
        "UPDATE {schema}.meta SET version = {}",
        VERSION + 1
    ));
    let error = refused(server, &schema);
    assert!(error.contains("newer program"), "{error}");
    let version = server.sql(&format!("SELECT version FROM {schema}.meta"));
    assert_eq!(version, (VERSION + 1).to_string(), "nothing was changed");
    server.sql("CREATE DATABASE latin ENCODING 'SQL_ASCII' TEMPLATE template0");
    let latin = Postgres {
        address: server.address().replace("dbname=postgres", "dbname=latin"),
        password: None,
    };
    let Err(error) = PostgresStore::open(&latin, &schema) else {
        panic!("a database without UTF-8 was taken");
    };
    assert!(error.to_string().contains("createdb -E UTF8"), "{error}");
}

#[test]
fn addresses_with_passwords_or_tls_are_refused_and_passwords_are_never_said() {
    for (address, why) in [
        ("host=/run user=w password=hunter2", "file of its own"),
        ("postgresql://w:hunter2@localhost/w", "file of its own"),
        ("host=db sslmode=require", "TLS"),
        ("nonsense", "for example"),
    ] {
        let server = Postgres {
            address: address.into(),
            password: None,
        };
        let error = super::parse_address(&server).unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// What the released versions wrote. A fixture is never changed; a new version adds one.
#[test]
fn tables_of_every_released_version_open_and_give_the_same_events() {
    let server = PostgresServer::start();
    let dump = include_str!("../../../tests/fixtures/postgres-1.sql");
    server.sql(dump);
    let schema = "warren_00000000000000000000000000000001";
    let store = open(&server, schema);
    let version = server.sql(&format!("SELECT version FROM {schema}.meta"));
    assert_eq!(version, VERSION.to_string());
    crate::store::fixtures::is_as_it_was(&store);
}

/// Writes the fixture of the version of today: `cargo test ... -- --ignored write_the_fixture_of_postgres`.
#[test]
#[ignore = "makes the fixture of a new version"]
fn write_the_fixture_of_postgres() {
    let server = PostgresServer::start();
    let schema = "warren_00000000000000000000000000000001";
    let store = open(&server, schema);
    crate::store::fixtures::fill(&store);
    drop(store);
    let dump: String = server
        .dump(schema)
        .lines()
        .filter(|line| !line.starts_with("--") && !line.starts_with('\\') && !line.is_empty())
        .filter(|line| !line.starts_with("SET ") || line.contains("standard_conforming_strings"))
        .filter(|line| !line.contains("set_config"))
        .map(|line| format!("{line}\n"))
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/postgres-");
    std::fs::write(format!("{path}{VERSION}.sql"), dump).unwrap();
}

//! What a space is told by its host: where its files are, what it is called, what an outsider may cost it.
//! Never read from a file here: the daemon owns the configuration file.

use std::path::PathBuf;
use std::sync::Arc;

use nostr::key::PublicKey;

use crate::stores::Stores;

/// Where the time comes from: seconds since 1970 (UTC). Every check of a date in a space asks this and nothing else,
/// so that tests can let a day pass and a router without a battery clock can hand in its own best guess.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of the operating system.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    })
}

/// One space.
#[derive(Debug, Clone)]
pub struct SpaceConfig {
    /// The directory that holds the journal, the index and the key file. Made when it is missing.
    pub dir: PathBuf,
    /// The name people see.
    pub name: String,
    /// A sentence about the space, may be empty.
    pub about: String,
    /// The service name without `.warren`: 52 lowercase base32 characters.
    pub service: String,
    /// The person who may do everything, in every channel.
    pub owner: Option<PublicKey>,
    /// What an outsider can make this space hold or do.
    pub limits: Limits,
    /// Where a new space keeps its events and files; one that is there stays where it is.
    pub stores: Stores,
}

/// Everything an outsider can make a space hold or do. Shown in NIP-11 where NIP-11 has a name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one WebSocket message.
    pub message_bytes: usize,
    /// Characters of one event's content.
    pub content_chars: usize,
    /// Tags of one event.
    pub event_tags: usize,
    /// Characters of a subscription's name.
    pub subscription_id_chars: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Filters of one subscription.
    pub filters: usize,
    /// Values in all lists of one filter together.
    pub filter_values: usize,
    /// Events that answer one filter.
    pub query_events: usize,
    /// Events that one COUNT counts (NIP-45); beyond it the answer is this number, marked as approximate.
    pub count_events: usize,
    /// Counts that one connection may have running.
    pub counts: usize,
    /// Syncs that one connection may have open (NIP-77).
    pub syncs: usize,
    /// Events that one sync may compare. Each takes about 40 bytes of memory as long as the sync is open.
    pub sync_events: usize,
    /// Events that all open syncs of the space may compare together.
    pub sync_events_in_all: usize,
    /// Seconds after which a sync ends whose client says nothing.
    pub sync_seconds: u64,
    /// Bytes of one message of a sync that we send, before they are written as hex; at least 4096.
    pub sync_message_bytes: u32,
    /// Connections at a time.
    pub connections: usize,
    /// How often a silent connection is asked whether it is still there. After two times without an answer it ends.
    pub ping_seconds: u64,
    /// People one connection may prove to be.
    pub keys_per_connection: usize,
    /// Messages a second that one connection may send over a long time.
    pub messages_per_second: u32,
    /// Messages that one connection may send at once.
    pub message_burst: u32,
    /// Events a minute that one person may write over a long time.
    pub events_per_minute: u32,
    /// Events that one person may write at once.
    pub event_burst: u32,
    /// Private messages a minute that one person may send over a long time, one for each recipient.
    pub wraps_per_minute: u32,
    /// Private messages that one person may send at once.
    pub wrap_burst: u32,
    /// Private messages that wait for one person.
    pub mailbox_events: usize,
    /// Private messages a minute that strangers may leave at a home's relay over a long time: for one person, and on one
    /// connection.
    pub stranger_wraps_per_minute: u32,
    /// The same at once.
    pub stranger_wrap_burst: u32,
    /// Private messages that may wait for one person before those of strangers are refused.
    pub stranger_mailbox_events: usize,
    /// Events that one person may keep at a home's relay.
    pub person_events: usize,
    /// Bytes that they may take, roughly.
    pub person_bytes: usize,
    /// Bytes that wait for one slow reader before it is dropped.
    pub reader_backlog_bytes: usize,
    /// Seconds an event's date may lie in the past (late publication, NIP-29).
    pub past_seconds: u64,
    /// Seconds an event's date may lie in the future.
    pub future_seconds: u64,
    /// Seconds the date of a proof of identity may be off (NIP-42).
    pub auth_seconds: u64,
    /// Seconds the date of a proof of identity for HTTP may be off (NIP-98).
    pub http_auth_seconds: u64,
    /// Bytes of one call of the management (NIP-86).
    pub call_bytes: usize,
    /// Seconds between two signals of a person (typing, being there), each of its kind.
    pub signal_seconds: u32,
    /// Read states of one person, one a device.
    pub read_states: usize,
    /// Characters of one read state.
    pub read_state_chars: usize,
    /// Emoji of the space.
    pub emoji: usize,
    /// Webhooks of the space.
    pub webhooks: usize,
    /// Bytes that are posted to a webhook at once.
    pub webhook_bytes: usize,
    /// Messages a minute that come by one webhook over a long time.
    pub webhook_per_minute: u32,
    /// Messages that come by one webhook at once.
    pub webhook_burst: u32,
    /// Channels of the space.
    pub channels: usize,
    /// Members of one channel.
    pub members: usize,
    /// Members of the space.
    pub space_members: usize,
    /// Bytes of the journal on disk.
    pub journal_bytes: u64,
    /// What concerns files.
    pub files: FileLimits,
}

/// Everything people can make a space hold or do with files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLimits {
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files and unfinished uploads of the space.
    pub space_bytes: u64,
    /// Bytes of the files and unfinished uploads of one member.
    pub member_bytes: u64,
    /// The same of a moderator.
    pub moderator_bytes: u64,
    /// The same of an admin.
    pub admin_bytes: u64,
    /// Files of one person.
    pub person_files: u64,
    /// Unfinished uploads of one person.
    pub person_unfinished: u64,
    /// Seconds after its last byte when an unfinished upload is given up.
    pub unfinished_seconds: u64,
    /// Seconds that a file is kept; `None`: until somebody deletes it.
    pub keep_seconds: Option<u64>,
    /// Uploads and downloads that run at a time. Each takes up to 200 KiB of memory.
    pub transfers: usize,
    /// Of these, those of all who are no members, or do not say who they are, together.
    pub stranger_transfers: usize,
    /// Of these, those of one member.
    pub person_transfers: usize,
    /// Seconds without a single byte after which a transfer is ended.
    pub stall_seconds: u64,
    /// Changes (uploads, parts of uploads, deletions, reports) a minute of one person over a long time.
    pub changes_per_minute: u32,
    /// Such changes of one person at once.
    pub change_burst: u32,
    /// Files that one answer to a question for a list names.
    pub list_files: usize,
    /// Reports of one person that are kept.
    pub person_reports: usize,
    /// Reports that are kept; the oldest go first.
    pub reports: usize,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self {
            file_bytes: 4 << 30,
            space_bytes: 32 << 30,
            member_bytes: 4 << 30,
            moderator_bytes: 8 << 30,
            admin_bytes: 16 << 30,
            person_files: 10_000,
            person_unfinished: 8,
            unfinished_seconds: 2 * 86_400,
            keep_seconds: None,
            transfers: 32,
            stranger_transfers: 24,
            person_transfers: 8,
            stall_seconds: 60,
            changes_per_minute: 120,
            change_burst: 240,
            list_files: 500,
            person_reports: 50,
            reports: 1000,
        }
    }
}

impl Limits {
    /// What suits the relay of a home: lists of people that somebody follows are long, and there is less of everything
    /// else.
    pub fn of_home() -> Self {
        Self {
            message_bytes: 512 * 1024,
            // Each home has a connection to each other.
            ping_seconds: 240,
            event_tags: 5000,
            journal_bytes: 1 << 30,
            files: FileLimits {
                file_bytes: 1 << 30,
                space_bytes: 16 << 30,
                member_bytes: 2 << 30,
                ..FileLimits::default()
            },
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 128 * 1024,
            content_chars: 64 * 1024,
            event_tags: 500,
            subscription_id_chars: 64,
            subscriptions: 64,
            filters: 10,
            filter_values: 1000,
            query_events: 500,
            count_events: 10_000,
            counts: 8,
            syncs: 4,
            sync_events: 65_536,
            sync_events_in_all: 131_072,
            sync_seconds: 60,
            sync_message_bytes: 32 * 1024,
            connections: 1024,
            ping_seconds: 45,
            keys_per_connection: 16,
            messages_per_second: 100,
            message_burst: 400,
            events_per_minute: 600,
            event_burst: 200,
            wraps_per_minute: 240,
            wrap_burst: 240,
            mailbox_events: 5000,
            stranger_wraps_per_minute: 30,
            stranger_wrap_burst: 60,
            stranger_mailbox_events: 1000,
            person_events: 100_000,
            person_bytes: 128 << 20,
            reader_backlog_bytes: 1024 * 1024,
            past_seconds: 24 * 3600,
            future_seconds: 15 * 60,
            auth_seconds: 10 * 60,
            http_auth_seconds: 60,
            call_bytes: 64 * 1024,
            signal_seconds: 3,
            read_states: 16,
            read_state_chars: 32 * 1024,
            emoji: 200,
            webhooks: 100,
            webhook_bytes: 16 * 1024,
            webhook_per_minute: 30,
            webhook_burst: 10,
            channels: 500,
            members: 5000,
            space_members: 5000,
            journal_bytes: 4 << 30,
            files: FileLimits::default(),
        }
    }
}

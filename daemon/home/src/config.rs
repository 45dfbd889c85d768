//! What a home is told by the daemon: where its files are, what it is called, under which names it is opened, and what
//! it takes of what.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::accounts::sealed::Cost;
use crate::dialer::ServiceName;
use crate::relay_address::RelayAddress;

/// Where the time comes from: seconds since 1970 (UTC).
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of the operating system.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    })
}

/// One home.
#[derive(Debug, Clone)]
pub struct HomeConfig {
    /// The directory that holds the accounts. Made when it is missing.
    pub dir: PathBuf,
    /// The name people see.
    pub name: String,
    /// Host names under which a browser may open the home, beside `localhost`, `*.localhost` and addresses.
    pub host_names: Vec<String>,
    /// The home's own relay service, where people of this home can be written to by strangers.
    pub relay: Option<ServiceName>,
    /// Relays of the Internet that are used beside those of homes.
    pub uplink: UplinkConfig,
    /// What it takes of what.
    pub limits: Limits,
}

/// Relays of the Internet, as the owner lists them. They see the home's address in the Internet. None: off.
#[derive(Debug, Clone, Default)]
pub struct UplinkConfig {
    /// At most [`Self::MOST`].
    pub relays: Vec<RelayAddress>,
    /// Certificates (PEM) of authorities that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
}

impl UplinkConfig {
    /// Relays that a home lists.
    pub const MOST: usize = 8;
}

/// What a home takes of what. Everything that somebody can make it hold or do is in here.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Accounts.
    pub accounts: usize,
    /// Devices of one account; beyond, the one that was not here for the longest time is logged out.
    pub devices: usize,
    /// Apps of one account.
    pub apps: usize,
    /// Time between two uses of a passphrase from one source (an IPv4 address, an IPv6 /64), and how many may come at
    /// once after a rest. Logins, new accounts and whatever else asks for a passphrase count together.
    pub login_every: Duration,
    /// See [`Self::login_every`].
    pub login_burst: u32,
    /// Time between two new accounts, from whatever source, and how many may come at once after a rest.
    pub new_every: Duration,
    /// See [`Self::new_every`].
    pub new_burst: u32,
    /// Uses of a passphrase that may wait behind the one that is worked on.
    pub logins_waiting: usize,
    /// What new passphrases cost. `None`: by the free memory at the start, 8 to 32 MiB.
    pub passphrase_cost: Option<Cost>,
    /// Guests.
    pub guests: usize,
    /// Days without a visit after which a guest is forgotten.
    pub guest_days: u32,
    /// How long an app's request waits for its person to allow it.
    pub approval: Duration,
    /// Requests of apps that wait for one person.
    pub approvals_waiting: usize,
    /// Invitations that are accepted at a time.
    pub joining: usize,
    /// Connections to the signer.
    pub signer_connections: usize,
    /// What concerns the feed.
    pub feed: FeedLimits,
    /// Bytes that one person's messages may take on the disk.
    pub messages_bytes: u64,
    /// Bytes of one message's text.
    pub message_bytes: usize,
    /// Receivers of one message.
    pub message_people: usize,
    /// Wraps of one person that wait to be carried away.
    pub messages_waiting: usize,
    /// Conversations that strangers began and that wait for one person.
    pub requests: usize,
    /// Messages of one such conversation.
    pub request_messages: usize,
    /// People whom one person can block.
    pub blocked: usize,
    /// Spaces and relays that this home keeps connections to for messages.
    pub message_spaces: usize,
    /// Spaces of one person.
    pub person_spaces: usize,
    /// Wraps of one person that stay in a space for the person's other apps once they are here. Older ones are
    /// deleted there.
    pub wraps_left: usize,
    /// Longest time between two attempts to reach a space for messages.
    pub message_wait: Duration,
    /// Time between two signs that somebody writes, in one conversation.
    pub typing_every: Duration,
    /// Streams of changes that one person's apps have open.
    pub message_streams: usize,
}

/// What people, and those they follow, can make the feed hold and do.
#[derive(Debug, Clone)]
pub struct FeedLimits {
    /// Bytes of what others wrote that the cache holds.
    pub cache_bytes: u64,
    /// Of these a fourth at most is of people whom nobody here follows. Events that the cache holds of one person.
    pub person_events: u32,
    /// People that one person follows.
    pub follows: usize,
    /// People that all people of the home follow together.
    pub all_follows: usize,
    /// Lists of people of one person.
    pub lists: usize,
    /// People in one list.
    pub list_people: usize,
    /// Homes that are listened to at a time.
    pub links: usize,
    /// Characters of a post.
    pub text_chars: usize,
    /// Bytes of one event of others.
    pub event_bytes: usize,
    /// Bytes of a profile or a list of relays of others.
    pub profile_bytes: usize,
    /// Time between two events that one home may send over a long time, and how many may come at once.
    pub event_every: Duration,
    /// See [`Self::event_every`].
    pub event_burst: u32,
    /// Events that are asked for at a time.
    pub page_events: u32,
    /// Pages of older events, of people whose events are asked for the first time and after a break.
    pub first_pages: u32,
    /// See [`Self::first_pages`].
    pub later_pages: u32,
    /// How often somebody looks which homes are in reach.
    pub look_every: Duration,
    /// Waiting between two attempts to reach a home: at first, and at most.
    pub first_wait: Duration,
    /// See [`Self::first_wait`].
    pub longest_wait: Duration,
}

impl Default for FeedLimits {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            person_events: 2000,
            follows: 5000,
            all_follows: 20_000,
            lists: 50,
            list_people: 500,
            links: 64,
            text_chars: 5000,
            event_bytes: 64 * 1024,
            profile_bytes: 16 * 1024,
            event_every: Duration::from_millis(10),
            event_burst: 2000,
            page_events: 400,
            first_pages: 3,
            later_pages: 20,
            look_every: Duration::from_secs(15),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accounts: 500,
            devices: 32,
            apps: 64,
            login_every: Duration::from_secs(10),
            login_burst: 10,
            new_every: Duration::from_secs(60),
            new_burst: 30,
            logins_waiting: 8,
            passphrase_cost: None,
            guests: 2000,
            guest_days: 90,
            approval: Duration::from_secs(300),
            approvals_waiting: 16,
            joining: 8,
            signer_connections: 64,
            feed: FeedLimits::default(),
            messages_bytes: 32 << 20,
            message_bytes: 16_000,
            message_people: 12,
            messages_waiting: 500,
            requests: 100,
            request_messages: 10,
            blocked: 1000,
            message_spaces: 64,
            person_spaces: 32,
            wraps_left: 1000,
            message_wait: Duration::from_secs(30),
            typing_every: Duration::from_secs(3),
            message_streams: 16,
        }
    }
}

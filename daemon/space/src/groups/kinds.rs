//! The kinds a space knows by number, each with the place that defines it.

/// What somebody is called (NIP-01).
pub const PROFILE: u16 = 0;
/// A note (NIP-01).
pub const NOTE: u16 = 1;
/// A message of a chat (NIP-C7).
pub const MESSAGE: u16 = 9;
/// A thread (NIP-7D).
pub const THREAD: u16 = 11;
/// A comment (NIP-22).
pub const COMMENT: u16 = 1111;
/// A poll (NIP-88).
pub const POLL: u16 = 1068;
/// An answer to a poll (NIP-88).
pub const VOTE: u16 = 1018;
/// A set of emoji (NIP-51): here only the space's own.
pub const EMOJI_SET: u16 = 30030;
/// An entry of a calendar, by date (NIP-52).
pub const DATE_ENTRY: u16 = 31922;
/// An entry of a calendar, by time (NIP-52).
pub const TIME_ENTRY: u16 = 31923;
/// Whether somebody comes (NIP-52).
pub const RSVP: u16 = 31925;
/// Somebody is typing. Our own; heard and never stored.
pub const TYPING: u16 = 20001;
/// Somebody says whether they are there, and the space says who is. Our own; heard and never stored.
pub const PRESENCE: u16 = 24240;
/// Deletion request (NIP-09).
pub const DELETION: u16 = 5;
/// Add a member or change roles (NIP-29).
pub const PUT_USER: u16 = 9000;
/// Remove a member (NIP-29).
pub const REMOVE_USER: u16 = 9001;
/// Change what a group is called and who may do what (NIP-29).
pub const EDIT_METADATA: u16 = 9002;
/// Delete somebody's event (NIP-29).
pub const DELETE_EVENT: u16 = 9005;
/// Create a group (NIP-29).
pub const CREATE_GROUP: u16 = 9007;
/// Delete a group (NIP-29).
pub const DELETE_GROUP: u16 = 9008;
/// Make an invitation (NIP-29).
pub const CREATE_INVITE: u16 = 9009;
/// Say which messages are pinned (NIP-29).
pub const PIN_LIST: u16 = 9010;
/// Last of the kinds that NIP-29 keeps for moderation.
pub const MODERATION_END: u16 = 9020;
/// Ask to join (NIP-29).
pub const JOIN: u16 = 9021;
/// Leave (NIP-29).
pub const LEAVE: u16 = 9022;
/// First of the four descriptions that the relay signs: 39000 metadata, 39001 admins, 39002 members, 39003 roles.
pub const GROUP_METADATA: u16 = 39000;
/// Last kind that only the relay may sign (NIP-29, pins included).
pub const GROUP_LAST: u16 = 39005;
/// A private message, sealed for one person (NIP-59).
pub const GIFT_WRAP: u16 = 1059;
/// The same for what need not be kept (NIP-59).
pub const EPHEMERAL_GIFT_WRAP: u16 = 21059;
/// What a program keeps for a person (NIP-78): here the permission to collect messages, and how far somebody has read.
pub const APP_DATA: u16 = 30078;
/// A report (NIP-56).
pub const REPORT: u16 = 1984;
/// Reaction (NIP-25).
pub const REACTION: u16 = 7;
/// An act of moderation or management, signed by the space: the log of who did what, and what the state of the space
/// is rebuilt from. Our own; the crate's README has the table.
pub const ACT: u16 = 4240;
/// The space says that somebody is a member now (NIP-43).
pub const MEMBER_ADDED: u16 = 8000;
/// The space says that somebody is no longer a member (NIP-43).
pub const MEMBER_REMOVED: u16 = 8001;
/// The space's list of members (NIP-43).
pub const MEMBERS: u16 = 13534;
/// A role of the space (NIP-43).
pub const ROLE: u16 = 33534;
/// Ask to become a member (NIP-43).
pub const SPACE_JOIN: u16 = 28934;
/// An invitation that the space makes for a member who asks (NIP-43).
pub const SPACE_INVITE: u16 = 28935;
/// Stop being a member (NIP-43).
pub const SPACE_LEAVE: u16 = 28936;
/// Proof of identity for one HTTP request (NIP-98).
pub const HTTP_AUTH: u16 = 27235;
/// Proof of identity to a relay (NIP-42).
pub const AUTH: u16 = 22242;

/// Everything the state of the space and its channels is rebuilt from, and that is therefore never deleted.
pub const STATE: [u16; 13] = [
    PUT_USER,
    REMOVE_USER,
    EDIT_METADATA,
    DELETE_EVENT,
    CREATE_GROUP,
    DELETE_GROUP,
    CREATE_INVITE,
    APP_DATA,
    PIN_LIST,
    MEMBER_ADDED,
    MEMBER_REMOVED,
    ACT,
    REPORT,
];

/// What a person may write that belongs to no channel: profile (0), deletion request (5), report (1984), whether they are
/// there (24240), joining and leaving the space (28934, 28936), and the lists where to find somebody (10002, 10050,
/// 10063) and which groups somebody is in (10009).
pub const WITHOUT_CHANNEL: [u16; 10] = [
    PROFILE,
    PRESENCE,
    DELETION,
    REPORT,
    SPACE_JOIN,
    SPACE_LEAVE,
    10002,
    10009,
    10050,
    10063,
];

/// Whether it is one of the moderation kinds.
pub fn is_moderation(kind: u16) -> bool {
    (PUT_USER..=MODERATION_END).contains(&kind)
}

/// Whether only the space itself signs events of this kind.
pub fn is_of_space(kind: u16) -> bool {
    (GROUP_METADATA..=GROUP_LAST).contains(&kind)
        || [
            ACT,
            MEMBER_ADDED,
            MEMBER_REMOVED,
            MEMBERS,
            ROLE,
            SPACE_INVITE,
        ]
        .contains(&kind)
}

//! The kinds a space knows by number, each with the place that defines it.

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
/// What a program keeps for a person (NIP-78): here only the permission to collect messages.
pub const APP_DATA: u16 = 30078;
/// Proof of identity to a relay (NIP-42).
pub const AUTH: u16 = 22242;

/// Everything the state of the groups is rebuilt from, and that is therefore never deleted.
pub const STATE: [u16; 8] = [
    PUT_USER,
    REMOVE_USER,
    EDIT_METADATA,
    DELETE_EVENT,
    CREATE_GROUP,
    DELETE_GROUP,
    CREATE_INVITE,
    APP_DATA,
];

/// What a person may write that belongs to no channel: profile (0), deletion request (5), and the lists where
/// to find somebody (10002, 10050, 10063) and which groups somebody is in (10009).
pub const WITHOUT_CHANNEL: [u16; 6] = [0, DELETION, 10002, 10009, 10050, 10063];

/// Whether it is one of the moderation kinds.
pub fn is_moderation(kind: u16) -> bool {
    (PUT_USER..=MODERATION_END).contains(&kind)
}

//! What a role may allow: a small fixed set, so that everybody who reads a role knows what it means.

/// One thing that somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Permission {
    /// Rename the space, close it, set its filters; stands above all overrides and reaches every channel.
    ManageSpace,
    /// Create, change and delete channels, set slow mode.
    ManageChannels,
    /// Make, change, give and take roles below one's own; set overrides.
    ManageRoles,
    /// Make invitations and add people.
    Invite,
    /// Remove people.
    Kick,
    /// Ban people and lift bans.
    Ban,
    /// Silence people until a date.
    TimeOut,
    /// Delete what others wrote.
    DeleteMessages,
    /// Pin.
    Pin,
    /// Mention everyone, or everyone with a role.
    MentionEveryone,
    /// Write messages.
    Write,
    /// React (kind 7).
    React,
    /// Upload files.
    Upload,
    /// Write without waiting in a channel with slow mode.
    SkipSlowMode,
    /// Read reports and answer them.
    Reports,
    /// Read the log of moderation.
    Audit,
    /// Make, list and revoke webhooks.
    ManageWebhooks,
    /// Change the emoji of the space.
    ManageEmoji,
}

const NAMES: [(Permission, &str); 18] = [
    (Permission::ManageSpace, "manage-space"),
    (Permission::ManageChannels, "manage-channels"),
    (Permission::ManageRoles, "manage-roles"),
    (Permission::Invite, "invite"),
    (Permission::Kick, "kick"),
    (Permission::Ban, "ban"),
    (Permission::TimeOut, "time-out"),
    (Permission::DeleteMessages, "delete-messages"),
    (Permission::Pin, "pin"),
    (Permission::MentionEveryone, "mention-everyone"),
    (Permission::Write, "write"),
    (Permission::React, "react"),
    (Permission::Upload, "upload"),
    (Permission::SkipSlowMode, "skip-slow-mode"),
    (Permission::Reports, "reports"),
    (Permission::Audit, "audit"),
    (Permission::ManageWebhooks, "manage-webhooks"),
    (Permission::ManageEmoji, "manage-emoji"),
];

impl Permission {
    /// The permission of a name.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(permission, _)| *permission)
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// None.
    pub const NONE: Self = Self(0);
    /// All of them: the built-in role `admin`.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// What every member may do unless the role `member` is changed.
    pub const MEMBER: Self = Self::of(&[Permission::Write, Permission::React, Permission::Upload]);
    /// What somebody may do who does not belong to a channel that takes messages from everybody.
    pub const STRANGER: Self = Self::of(&[Permission::Write, Permission::React]);
    /// The built-in role `moderator`.
    pub const MODERATOR: Self = Self::of(&[
        Permission::Invite,
        Permission::Kick,
        Permission::TimeOut,
        Permission::DeleteMessages,
        Permission::Pin,
        Permission::MentionEveryone,
        Permission::Write,
        Permission::React,
        Permission::Upload,
        Permission::SkipSlowMode,
        Permission::Reports,
        Permission::Audit,
    ]);

    const fn of(list: &[Permission]) -> Self {
        let mut bits = 0;
        let mut n = 0;
        while n < list.len() {
            bits |= 1 << list[n] as u8;
            n += 1;
        }
        Self(bits)
    }

    /// Whether it is one of them.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Whether these are all among `others`.
    pub fn within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// These and those.
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These without those.
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// What is in both.
    pub fn both(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Reads names; `Err` with the first that is not one.
    pub fn parse<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<Self, &'a str> {
        names.try_fold(Self::NONE, |set, name| {
            Permission::parse(name)
                .map(|permission| set.and(Self::of(&[permission])))
                .ok_or(name)
        })
    }

    /// The names, in the order of the list above.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .iter()
            .filter(move |(permission, _)| self.has(*permission))
            .map(|(_, name)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sets_are_the_same_thing() {
        for set in [Permissions::ALL, Permissions::MODERATOR, Permissions::NONE] {
            assert_eq!(Permissions::parse(set.names()), Ok(set));
        }
        assert_eq!(Permissions::ALL.names().count(), 18);
        assert_eq!(Permissions::parse(["write", "fly"].into_iter()), Err("fly"));
        assert!(!Permissions::MODERATOR.has(Permission::ManageRoles));
        assert!(Permissions::MEMBER.within(Permissions::MODERATOR));
    }
}

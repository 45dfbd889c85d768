//! Who stands where, and what they may do: in the space as a whole, and in one channel.

use nostr::key::PublicKey;

use super::permissions::{Permission, Permissions};
use super::roles::{
    ADMIN, FOUNDER_ORDER, MEMBER, MEMBER_ORDER, Override, Roles, STRANGER_ORDER, Standing,
};
use super::{Channel, Groups};

/// Who has a say in the whole space.
#[derive(Debug, Clone, Copy)]
pub struct Authority {
    /// The space's own key.
    pub relay: PublicKey,
    /// The owner, if the space has one.
    pub owner: Option<PublicKey>,
    /// Whether it is no space, but where people of a home write for everybody.
    pub is_home: bool,
}

impl Authority {
    /// Whether somebody stands above all roles.
    pub fn is_above(&self, person: &PublicKey) -> bool {
        *person == self.relay || self.owner == Some(*person)
    }
}

impl Groups {
    /// Where somebody stands in the space as a whole.
    pub fn standing(&self, authority: &Authority, person: &PublicKey) -> Standing {
        if authority.is_above(person) {
            return Standing::OWNER;
        }
        match self.community.members.get(person) {
            Some(roles) => self.of_roles(roles.0.iter().map(|role| &**role), true),
            None => Standing {
                order: STRANGER_ORDER,
                permissions: Permissions::NONE,
                belongs: false,
            },
        }
    }

    /// Where somebody stands in a channel. Roles in the whole space count in it too, as far as the person may read it.
    pub fn standing_in(
        &self,
        authority: &Authority,
        channel: &Channel,
        person: &PublicKey,
    ) -> Standing {
        let of_space = self.standing(authority, person);
        if of_space.permissions.has(Permission::ManageSpace) {
            return Standing {
                belongs: true,
                ..of_space
            };
        }
        let here = channel.members.get(person);
        let everywhere = self.community.members.get(person);
        let none = Roles::default();
        let roles = || {
            let (here, everywhere) = (here.unwrap_or(&none), everywhere.unwrap_or(&none));
            here.0.iter().chain(&everywhere.0).map(|role| &**role)
        };
        let mut standing = match here {
            Some(_) => self.of_roles(roles(), true),
            None if everywhere.is_some() && !channel.is_private() => self.of_roles(roles(), false),
            None => Standing {
                order: STRANGER_ORDER,
                permissions: Permissions::NONE,
                belongs: false,
            },
        };
        if here.is_none() && !channel.is_private() && !channel.metadata.restricted {
            let stranger = self.community.roles.member().both(Permissions::STRANGER);
            standing.permissions = standing.permissions.and(stranger);
        }
        if channel.founder == *person && here.is_some_and(|roles| roles.has(ADMIN)) {
            standing.order = FOUNDER_ORDER;
        }
        if !standing.permissions.has(Permission::ManageSpace) {
            let belongs = here.is_some();
            standing.permissions = overridden(standing.permissions, channel, roles(), belongs);
        }
        standing
    }

    /// What is left in a channel that everybody may write in of what somebody may do in the space, without belonging to
    /// the channel.
    pub fn left_in(
        &self,
        channel: &Channel,
        person: &PublicKey,
        permissions: Permissions,
    ) -> Permissions {
        let roles = self.community.members.get(person).into_iter();
        let roles = roles.flat_map(|roles| roles.0.iter().map(|role| &**role));
        overridden(permissions, channel, roles, false)
    }

    fn of_roles<'a>(&self, roles: impl Iterator<Item = &'a str>, belongs: bool) -> Standing {
        let mut standing = Standing {
            order: MEMBER_ORDER,
            permissions: if belongs {
                self.community.roles.member()
            } else {
                Permissions::NONE
            },
            belongs,
        };
        for role in roles.filter_map(|id| self.community.roles.get(id)) {
            standing.order = standing.order.min(role.order);
            standing.permissions = standing.permissions.and(role.permissions);
        }
        standing
    }
}

/// What is left of permissions in a channel: first what it says of members, then what it says of the roles together,
/// where one that allows counts more than one that denies. What it allows members is for those who belong to it.
fn overridden<'a>(
    permissions: Permissions,
    channel: &Channel,
    roles: impl Iterator<Item = &'a str>,
    belongs: bool,
) -> Permissions {
    let apply =
        |permissions: Permissions, say: Override| permissions.without(say.deny).and(say.allow);
    if channel.overrides.is_empty() || permissions == Permissions::NONE {
        return permissions;
    }
    let mut members = channel.overrides.get(MEMBER).copied().unwrap_or_default();
    if !belongs {
        members.allow = Permissions::NONE;
    }
    let together = roles.filter_map(|role| channel.overrides.get(role)).fold(
        Override::default(),
        |all, one| Override {
            allow: all.allow.and(one.allow),
            deny: all.deny.and(one.deny),
        },
    );
    apply(apply(permissions, members), together)
}

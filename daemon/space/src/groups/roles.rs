//! Roles: what they are called, what they allow, and who stands above whom.

use std::collections::BTreeMap;

use nostr::event::Event;

use super::permissions::Permissions;
use crate::record::tag_values;

/// Built-in role of who runs things.
pub const ADMIN: &str = "admin";
/// Built-in role of who keeps order.
pub const MODERATOR: &str = "moderator";
/// Built-in role of every member; it is never given or taken.
pub const MEMBER: &str = "member";

/// Where somebody stands: 0 is the owner and the space itself; the lower the number, the higher.
pub type Order = u16;
/// The owner and the space itself.
pub const OWNER_ORDER: Order = 0;
/// Who created a channel, in that channel, while being its admin: so that they can name other admins.
pub const FOUNDER_ORDER: Order = 1;
/// Places that roles can have.
pub const ROLE_ORDERS: std::ops::RangeInclusive<Order> = 2..=999;
/// The place of a role that is made without saying which.
pub const USUAL_ORDER: Order = 500;
/// A member without a role.
pub const MEMBER_ORDER: Order = 1000;
/// Somebody who is no member.
pub const STRANGER_ORDER: Order = 1001;

/// A member's roles, as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles(pub Vec<Box<str>>);

impl Roles {
    /// Whether it is among them.
    pub fn has(&self, role: &str) -> bool {
        self.0.iter().any(|known| **known == *role)
    }
}

/// One role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// What people read.
    pub label: Box<str>,
    /// A sentence about it.
    pub description: Box<str>,
    /// Its colour, 0 to 360 (NIP-43).
    pub hue: Option<u16>,
    /// Its place.
    pub order: Order,
    /// What it allows.
    pub permissions: Permissions,
    /// When it last changed, seconds since 1970.
    pub changed_at: u64,
}

impl Role {
    /// Reads what the space wrote down about a role.
    pub fn from_act(event: &Event) -> Self {
        let text = |name| tag_values(event, name).next().unwrap_or_default().into();
        let number = |name| tag_values(event, name).next().and_then(|n| n.parse().ok());
        Self {
            label: text("label"),
            description: text("description"),
            hue: number("color"),
            order: number("order").unwrap_or(USUAL_ORDER),
            permissions: Permissions::parse(tag_values(event, "permission")).unwrap_or_default(),
            changed_at: event.created_at.as_secs(),
        }
    }
}

/// All roles of a space, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleBook(BTreeMap<Box<str>, Role>);

impl Default for RoleBook {
    /// The built-in ones.
    fn default() -> Self {
        let role = |id: &str, description: &str, order, permissions| {
            let role = Role {
                label: id.into(),
                description: description.into(),
                hue: None,
                order,
                permissions,
                changed_at: 0,
            };
            (id.into(), role)
        };
        Self(BTreeMap::from([
            role(
                ADMIN,
                "changes the channel, gives roles, and all that a moderator does",
                100,
                Permissions::ALL,
            ),
            role(
                MODERATOR,
                "deletes messages, removes members, makes invitations",
                200,
                Permissions::MODERATOR,
            ),
            role(MEMBER, "writes", MEMBER_ORDER, Permissions::MEMBER),
        ]))
    }
}

impl RoleBook {
    /// One role.
    pub fn get(&self, id: &str) -> Option<&Role> {
        self.0.get(id)
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Role)> {
        self.0.iter().map(|(id, role)| (&**id, role))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes or changes one.
    pub fn put(&mut self, id: &str, role: Role) {
        self.0.insert(id.into(), role);
    }

    /// Removes one.
    pub fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// Whether it is one of those that are always there.
    pub fn is_built_in(id: &str) -> bool {
        [ADMIN, MODERATOR, MEMBER].contains(&id)
    }

    /// The role of every member.
    pub fn member(&self) -> Permissions {
        self.get(MEMBER)
            .map_or(Permissions::MEMBER, |role| role.permissions)
    }
}

/// What a channel says otherwise about one role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Override {
    /// Allowed here.
    pub allow: Permissions,
    /// Not allowed here.
    pub deny: Permissions,
}

/// Where somebody stands and what they may do, in the space or in one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The place of the highest role.
    pub order: Order,
    /// What all roles together allow.
    pub permissions: Permissions,
    /// Whether the person belongs here; the owner belongs everywhere.
    pub belongs: bool,
}

impl Standing {
    /// Everything, above everybody.
    pub const OWNER: Self = Self {
        order: OWNER_ORDER,
        permissions: Permissions::ALL,
        belongs: true,
    };

    /// Whether one may act on somebody who stands there. Nobody acts on somebody at or above them.
    pub fn is_above(&self, order: Order) -> bool {
        self.order == OWNER_ORDER && order != OWNER_ORDER || self.order < order
    }
}

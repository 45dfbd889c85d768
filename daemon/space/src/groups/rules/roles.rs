//! Giving, taking and changing roles: nobody touches a role or a person at or above their own place.

use super::{Refusal, invalid, not_allowed};
use crate::groups::Groups;
use crate::groups::permissions::{Permission, Permissions};
use crate::groups::roles::{MEMBER, Role, RoleBook, Roles, Standing};
use crate::names;

/// Roles of one member.
pub const ROLES_OF_ONE: usize = 16;
/// Roles of a space, built-in ones included.
pub const ROLES: usize = 100;
/// Bytes of a role's id.
pub const ID_BYTES: usize = 32;

/// The one answer for roles that are not there.
pub fn unknown_role() -> Refusal {
    invalid("there is no such role")
}

/// Whether somebody may give or take these roles at all.
pub fn give<'a>(
    groups: &Groups,
    giver: &Standing,
    roles: impl Iterator<Item = &'a str>,
) -> Result<(), Refusal> {
    for id in roles {
        let role = groups.community().roles.get(id).filter(|_| id != MEMBER);
        let role = role.ok_or_else(unknown_role)?;
        if !giver.permissions.has(Permission::ManageRoles) || !giver.is_above(role.order) {
            return Err(not_allowed());
        }
    }
    Ok(())
}

/// Whether somebody's roles may be changed from `old` to `new`; `place` is where that person stands.
pub fn change(
    groups: &Groups,
    giver: &Standing,
    place: u16,
    old: &Roles,
    new: &Roles,
) -> Result<(), Refusal> {
    if new.0.len() > ROLES_OF_ONE {
        return Err(invalid("a member may have 16 roles"));
    }
    let given = new.0.iter().filter(|role| !old.has(role));
    let taken = old.0.iter().filter(|role| !new.has(role));
    let mut changed = given.chain(taken).peekable();
    if changed.peek().is_some() && !giver.is_above(place) {
        return Err(not_allowed());
    }
    give(groups, giver, changed.map(|role| &**role))
}

/// Whether a role may be made, or changed from `old`. What a role allows, its giver must be allowed too.
pub fn define(
    groups: &Groups,
    giver: &Standing,
    id: &str,
    old: Option<&Role>,
    new: &Role,
) -> Result<(), Refusal> {
    if !names::is_id(id, ID_BYTES) {
        return Err(invalid(
            "a role's id has 1 to 32 characters of a-z, 0-9, - and _",
        ));
    }
    let places = old.map(|role| role.order).into_iter().chain([new.order]);
    if !giver.permissions.has(Permission::ManageRoles)
        || places.into_iter().any(|place| !giver.is_above(place))
    {
        return Err(not_allowed());
    }
    let before = old.map_or(Permissions::NONE, |role| role.permissions);
    if !new.permissions.without(before).within(giver.permissions) {
        return Err(not_allowed());
    }
    if !names::is_readable(&new.label)
        || new.label.chars().count() > 64
        || new.description.chars().count() > 500
    {
        return Err(invalid(
            "a role's name has 1 to 64 characters that can be seen, its description up to 500",
        ));
    }
    let folded = names::fold(&new.label);
    let mut others = groups.community().roles.iter();
    let taken = others.any(|(other, role)| {
        other != id && (names::fold(&role.label) == folded || names::fold(other) == folded)
    });
    if taken || folded == "owner" {
        return Err(invalid(
            "another role has this name, or one that looks like it",
        ));
    }
    if old.is_none() && groups.community().roles.len() >= ROLES {
        return Err(super::restricted(
            "this space has as many roles as it may have",
        ));
    }
    Ok(())
}

/// Whether a role may be deleted.
pub fn delete(groups: &Groups, giver: &Standing, id: &str) -> Result<(), Refusal> {
    if RoleBook::is_built_in(id) {
        return Err(invalid("a built-in role stays"));
    }
    give(groups, giver, std::iter::once(id))
}

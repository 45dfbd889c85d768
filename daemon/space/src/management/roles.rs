//! Roles of the space, who has them, and what channels say otherwise about them.

use serde_json::{Value, json};

use super::Context;
use crate::groups::permissions::{Permission, Permissions};
use crate::groups::roles::{ROLE_ORDERS, Role, RoleBook, USUAL_ORDER};
use crate::groups::rules::roles::{ID_BYTES, change, define, delete as may_delete, unknown_role};
use crate::groups::rules::{Refusal, invalid, not_allowed};
use crate::ingest::{Act, Stop};

/// Overrides of one channel.
const OVERRIDES: usize = 100;

fn permissions(names: &[&str]) -> Result<Permissions, Refusal> {
    Permissions::parse(names.iter().copied())
        .map_err(|_| invalid("one of these permissions is not known"))
}

/// The role that the parameters describe: id, label, description, colour, order, permissions.
fn described(context: &Context<'_>, old: Option<&Role>) -> Result<Role, Refusal> {
    let hue = context.number(3)?;
    if hue.is_some_and(|hue| hue > 360) {
        return Err(invalid("a role's colour is a number from 0 to 360"));
    }
    let usual = old.map_or(USUAL_ORDER, |role| role.order);
    let order = context
        .number(4)?
        .map_or(Some(usual), |order| u16::try_from(order).ok());
    let order = order.filter(|order| ROLE_ORDERS.contains(order) || *order == usual);
    let allowed = match context.texts(5, 32)? {
        Some(names) => permissions(&names)?,
        None => old.map_or(Permissions::NONE, |role| role.permissions),
    };
    let label = match context.text(1, 64)? {
        "" => context.text(0, ID_BYTES)?,
        label => label,
    };
    Ok(Role {
        label: label.into(),
        description: context.text(2, 500)?.into(),
        hue: hue.and_then(|hue| u16::try_from(hue).ok()),
        order: order.ok_or_else(|| invalid("a role's order is a number from 2 to 999"))?,
        permissions: allowed,
        changed_at: 0,
    })
}

fn write(context: &mut Context<'_>, name: &str, id: &str, role: &Role) -> Result<Value, Stop> {
    let mut act = context
        .act(name)
        .with("role", id)
        .with("label", &role.label)
        .with("description", &role.description)
        .with("order", &role.order.to_string());
    if let Some(hue) = role.hue {
        act = act.with("color", &hue.to_string());
    }
    for permission in role.permissions.names() {
        act = act.with("permission", permission);
    }
    context.write(act, None)
}

/// `createrole`
pub fn create(context: &mut Context<'_>) -> Result<Value, Stop> {
    let id = context.text(0, ID_BYTES)?.to_owned();
    if context.batch.groups.community().roles.get(&id).is_some() {
        return Err(Stop::from("duplicate: there is a role with this id"));
    }
    let role = described(context, None)?;
    define(&context.batch.groups, &context.standing, &id, None, &role)?;
    write(context, "create-role", &id, &role)
}

/// `editrole`
pub fn edit(context: &mut Context<'_>) -> Result<Value, Stop> {
    let id = context.text(0, ID_BYTES)?.to_owned();
    let old = context.batch.groups.community().roles.get(&id).cloned();
    let old = old.ok_or_else(unknown_role)?;
    let role = described(context, Some(&old))?;
    if RoleBook::is_built_in(&id) && (role.order != old.order || role.label != old.label) {
        return Err(invalid("a built-in role keeps its name and its place").into());
    }
    define(
        &context.batch.groups,
        &context.standing,
        &id,
        Some(&old),
        &role,
    )?;
    write(context, "edit-role", &id, &role)
}

/// `deleterole`
pub fn delete(context: &mut Context<'_>) -> Result<Value, Stop> {
    let id = context.text(0, ID_BYTES)?.to_owned();
    may_delete(&context.batch.groups, &context.standing, &id)?;
    let act = context.act("delete-role").with("role", &id);
    context.write(act, None)
}

/// `listroles`
pub fn list(context: &mut Context<'_>) -> Result<Value, Stop> {
    let roles = context.batch.groups.community().roles.iter();
    Ok(roles
        .map(|(id, role)| {
            json!({
                "id": id,
                "label": role.label,
                "description": role.description,
                "color": role.hue,
                "order": role.order,
                "permissions": role.permissions.names().collect::<Vec<_>>(),
            })
        })
        .collect())
}

/// `assignrole`
pub fn assign(context: &mut Context<'_>) -> Result<Value, Stop> {
    set(context, true)
}

/// `unassignrole`
pub fn unassign(context: &mut Context<'_>) -> Result<Value, Stop> {
    set(context, false)
}

fn set(context: &mut Context<'_>, has: bool) -> Result<Value, Stop> {
    let (person, id) = (context.person(0)?, context.text(1, ID_BYTES)?.to_owned());
    let groups = &context.batch.groups;
    let old = groups.community().members.get(&person);
    let Some(old) = old else {
        return Err(invalid("this person is not a member").into());
    };
    let mut new = old.clone();
    new.0.retain(|role| **role != *id);
    if has {
        new.0.push(id.as_str().into());
    }
    if groups.community().roles.get(&id).is_none() {
        return Err(unknown_role().into());
    }
    let place = groups.standing(&context.core.authority, &person).order;
    change(groups, &context.standing, place, old, &new)?;
    let name = if has { "assign-role" } else { "unassign-role" };
    let act = context
        .act(name)
        .with("p", &person.to_hex())
        .with("role", &id);
    context.write(act, None)
}

/// `setoverride`: what a channel allows and denies a role; nothing of both ends it.
pub fn set_override(context: &mut Context<'_>) -> Result<Value, Stop> {
    let role = context.text(1, ID_BYTES)?.to_owned();
    let allow = permissions(&context.texts(2, 32)?.unwrap_or_default())?;
    let deny = permissions(&context.texts(3, 32)?.unwrap_or_default())?;
    let (id, channel, standing) =
        context.channel_where(context.text(0, 64)?, Permission::ManageRoles)?;
    let known = context.batch.groups.community().roles.get(&role);
    let place = known.map(|role| role.order).ok_or_else(unknown_role)?;
    if !standing.is_above(place) || !allow.within(standing.permissions) {
        return Err(not_allowed().into());
    }
    if allow.and(deny).has(Permission::ManageSpace) {
        return Err(invalid("managing the space is not a channel's to allow or deny").into());
    }
    if channel.overrides.len() >= OVERRIDES && !channel.overrides.contains_key(role.as_str()) {
        return Err(invalid("a channel has 100 overrides at most").into());
    }
    let mut act = context.act("override").with("role", &role);
    act = allow
        .names()
        .fold(act, |act: Act, name| act.with("allow", name));
    act = deny
        .names()
        .fold(act, |act: Act, name| act.with("deny", name));
    context.write(act, Some(&id))
}

/// `listoverrides`
pub fn list_overrides(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (_, channel, _) = context.channel_where(context.text(0, 64)?, Permission::ManageRoles)?;
    Ok(channel
        .overrides
        .iter()
        .map(|(role, say)| {
            json!({
                "role": role,
                "allow": say.allow.names().collect::<Vec<_>>(),
                "deny": say.deny.names().collect::<Vec<_>>(),
            })
        })
        .collect())
}

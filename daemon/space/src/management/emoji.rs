//! The emoji of the space.

use serde_json::{Value, json};

use super::Context;
use crate::groups::rules::content::{is_picture, is_shortcode};
use crate::groups::rules::{invalid, restricted};
use crate::ingest::Stop;

/// `addemoji`: `[name, address of a picture]`; one of this name gets the new picture.
pub fn add(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (name, picture) = (context.text(0, 64)?, context.text(1, 500)?);
    if !is_shortcode(name) || !is_picture(picture) {
        return Err(invalid(
            "an emoji has a name of letters, digits, - and _, and the http address of a picture",
        )
        .into());
    }
    let known = &context.batch.groups.community().emoji;
    if known.picture(name).is_none() && known.len() >= context.core.config.limits.emoji {
        return Err(restricted("this space has as many emoji as it may have").into());
    }
    let act = context.act("add-emoji").with_all(&["emoji", name, picture]);
    context.write(act, None)
}

/// `removeemoji`: `[name]`.
pub fn remove(context: &mut Context<'_>) -> Result<Value, Stop> {
    let name = context.text(0, 64)?;
    let known = &context.batch.groups.community().emoji;
    if known.picture(name).is_none() {
        return Err(invalid("there is no such emoji").into());
    }
    let act = context.act("remove-emoji").with("emoji", name);
    context.write(act, None)
}

/// `listemoji`
pub fn list(context: &mut Context<'_>) -> Result<Value, Stop> {
    let emoji = context.batch.groups.community().emoji.iter();
    Ok(emoji
        .map(|(name, picture)| json!({ "name": name, "url": picture }))
        .collect())
}

//! What the space is called, who may come in, what may be written, and how fast.

use serde_json::{Value, json};

use super::Context;
use super::parameters::texts;
use crate::groups::community::TEXTS;
use crate::groups::filters::{Filters, HOSTS, Links, WORD_CHARS, WORDS, host};
use crate::groups::permissions::Permission;
use crate::groups::rules::{invalid, unknown_channel};
use crate::ingest::Stop;
use crate::names;
use crate::record::ChannelId;

/// Slowest slow mode, in seconds.
const SLOWEST: u64 = 6 * 3600;
/// Channels that new members are put into.
const DEFAULTS: usize = 20;

fn describe(context: &mut Context<'_>, name: &str) -> Result<Value, Stop> {
    let longest = TEXTS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(0, |(_, longest)| *longest);
    let text = context.text(0, longest)?.to_owned();
    let is_name = name == "name";
    if is_name && !names::is_readable(&text) {
        return Err(invalid("a name has 1 to 64 characters that can be seen").into());
    }
    let act = context.act("describe").with(name, &text);
    context.write(act, None)
}

/// `changerelayname`
pub fn name(context: &mut Context<'_>) -> Result<Value, Stop> {
    describe(context, "name")
}

/// `changerelaydescription`
pub fn description(context: &mut Context<'_>) -> Result<Value, Stop> {
    describe(context, "about")
}

/// `changerelayicon`
pub fn icon(context: &mut Context<'_>) -> Result<Value, Stop> {
    describe(context, "icon")
}

/// `setfilters`: an object with `words` (a list) and `links` (`"any"`, or a list of hosts).
pub fn set_filters(context: &mut Context<'_>) -> Result<Value, Stop> {
    let options = context.param(0).clone();
    let words = match &options["words"] {
        Value::Null => Vec::new(),
        value => texts(value, WORDS)?,
    };
    let fits = |word: &&str| word.chars().count() <= WORD_CHARS;
    let is_word = |word: &&str| !names::fold(word).replace('*', "").trim().is_empty();
    if !words.iter().all(|word| fits(word) && is_word(word)) {
        return Err(invalid("a word has 1 to 64 characters").into());
    }
    let mut act = context.act("filters");
    for word in words {
        act = act.with("word", word);
    }
    match &options["links"] {
        Value::Null => {}
        Value::String(any) if any == "any" => {}
        value => {
            act = act.with("links", "listed");
            for named in texts(value, HOSTS)? {
                let host = host(named);
                let is_name = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
                if host.is_empty() || host != named.to_lowercase() || !host.chars().all(is_name) {
                    return Err(invalid("links are `any` or a list of hosts").into());
                }
                act = act.with("host", &host);
            }
        }
    }
    context.write(act, None)
}

/// `getfilters`
pub fn get_filters(context: &mut Context<'_>) -> Result<Value, Stop> {
    let Filters { words, links, .. } = &context.batch.groups.community().filters;
    let links = match links {
        Links::Any => json!("any"),
        Links::To(hosts) => json!(hosts),
    };
    Ok(json!({ "words": words, "links": links }))
}

/// `setaccess`: `"open"`, or `"closed"`: by invitation only.
pub fn set_access(context: &mut Context<'_>) -> Result<Value, Stop> {
    let access = context.text(0, 10)?.to_owned();
    if !["open", "closed"].contains(&access.as_str()) {
        return Err(invalid("access is `open` or `closed`").into());
    }
    let act = context.act("access").with("access", &access);
    context.write(act, None)
}

/// `setdefaultchannels`: open channels that new members are put into.
pub fn set_defaults(context: &mut Context<'_>) -> Result<Value, Stop> {
    let named = context.texts(0, DEFAULTS)?.unwrap_or_default();
    let mut act = context.act("defaults");
    for id in named {
        let channel = ChannelId::parse(id).and_then(|id| context.batch.groups.get(&id));
        if !channel.is_some_and(|channel| channel.is_open()) {
            return Err(unknown_channel().into());
        }
        act = act.with("channel", id);
    }
    context.write(act, None)
}

/// `slowmode`: seconds between two messages of a person in a channel; 0 ends it.
pub fn slow_mode(context: &mut Context<'_>) -> Result<Value, Stop> {
    let seconds = context.number(1)?.unwrap_or(0);
    let (id, _, _) = context.channel_where(context.text(0, 64)?, Permission::ManageChannels)?;
    if seconds > SLOWEST {
        return Err(invalid("slow mode is up to six hours").into());
    }
    let act = context
        .act("slow-mode")
        .with("seconds", &seconds.to_string());
    context.write(act, Some(&id))
}

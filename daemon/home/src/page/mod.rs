//! The pages a home shows, as HTML that works without script and asks nobody else for anything.
//! Every foreign word passes through [`Escaped`]; nothing here reads a request or talks to a space.

pub mod invited;

use std::fmt;
use std::fmt::Write;

use crate::dates::iso;
use crate::dialer::{ServiceKind, ServiceListing};
use crate::room::{Delivery, Line, Reach, Unsent, View};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("app.js");
/// Longest message that can be written, in characters.
pub const TEXT_CHARS: usize = 4000;

/// Text in a place where HTML is expected.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Marks that turn the direction of text would let one message rearrange the page around it.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
                c if c.is_control() && c != '\n' && c != '\t' => {}
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// What belongs to one viewer.
#[derive(Debug, Clone)]
pub struct Viewer<'a> {
    /// The name that stands in the field.
    pub name: &'a str,
    /// What a form must repeat.
    pub form_token: &'a str,
}

fn document(title: &str, nonce: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{}</title><link rel=\"icon\" href=\"data:,\"><style nonce=\"{nonce}\">{STYLE}</style></head><body><div class=\"page\">{body}</div></body></html>\n",
        Escaped(title)
    )
}

/// The spaces of the island, and its sites.
pub fn spaces(home: &str, listings: &[ServiceListing], nonce: &str) -> String {
    let mut body = format!(
        "<header><h1>{}</h1><p class=\"state\">Spaces you can visit from here</p></header><main>",
        Escaped(home)
    );
    let (sites, listings): (Vec<_>, Vec<_>) = listings
        .iter()
        .partition(|listing| listing.kind == ServiceKind::Site);
    if listings.is_empty() {
        body.push_str("<p class=\"empty\">There is no space in reach yet. Homes nearby that have one appear here by themselves.</p>");
    } else {
        body.push_str(&list(&listings));
    }
    body.push_str(invited::FIELD);
    if !sites.is_empty() {
        let _ = write!(body, "<h2>Sites to read</h2>{}", list(&sites));
    }
    body.push_str("</main>");
    document(home, nonce, &body)
}

fn list(listings: &[&ServiceListing]) -> String {
    let mut out = String::from("<ul class=\"spaces\">");
    for listing in listings {
        let host = if listing.host.is_empty() {
            "another home"
        } else {
            &listing.host
        };
        let picture = match listing.kind {
            ServiceKind::Space => format!(
                "<img alt=\"\" loading=\"lazy\" src=\"/s/{}/picture?or=nothing\">",
                listing.service
            ),
            _ => String::new(),
        };
        let _ = write!(
            out,
            "<li><a href=\"/s/{}/\">{picture}<strong dir=\"auto\">{}</strong><span dir=\"auto\">at {}</span></a></li>",
            listing.service,
            Escaped(&listing.name),
            Escaped(host)
        );
    }
    out.push_str("</ul>");
    out
}

/// What is said about how far away a space is, and whether it is trouble.
pub fn reach(reach: Reach, waiting: usize) -> (&'static str, bool) {
    match reach {
        Reach::Here => ("Connected", false),
        Reach::Trying => ("Looking for the space…", false),
        Reach::Away if waiting > 0 => (
            "The space cannot be reached right now. What you wrote is kept and sent as soon as it can.",
            true,
        ),
        Reach::Away => (
            "The space cannot be reached right now. This page keeps trying.",
            true,
        ),
    }
}

/// The page of a space.
pub fn space(
    listing: &ServiceListing,
    view: &View,
    viewer: &Viewer<'_>,
    now: u64,
    nonce: &str,
) -> String {
    let (state, trouble) = reach(view.reach, view.unsent.len());
    let mut body = format!(
        "<header><a href=\"/\">← All spaces</a><h1 dir=\"auto\">{}</h1><p id=\"state\" class=\"state{}\" role=\"status\">{state}</p></header>\
         <main><ul id=\"said\" aria-live=\"polite\">{}</ul></main>",
        Escaped(&listing.name),
        if trouble { " away" } else { "" },
        lines(view, viewer, now)
    );
    let _ = write!(
        body,
        "<form id=\"write\" class=\"write\" method=\"post\" action=\"send\"><input type=\"hidden\" name=\"token\" value=\"{}\">\
         <label class=\"name\">Your name<input name=\"name\" required maxlength=\"40\" autocomplete=\"nickname\" dir=\"auto\" value=\"{}\"></label>\
         <label>Message<textarea name=\"text\" required maxlength=\"{TEXT_CHARS}\" rows=\"1\" dir=\"auto\"></textarea></label>\
         <button class=\"send\">Send</button><p class=\"note\" id=\"note\" role=\"status\">Everybody who visits this space can read what you write.\
         <noscript> <a href=\"\">Show new messages</a></noscript></p></form><script nonce=\"{nonce}\">{SCRIPT}</script>",
        Escaped(viewer.form_token),
        Escaped(viewer.name)
    );
    document(&listing.name, nonce, &body)
}

/// All messages that a page shows.
pub fn lines(view: &View, viewer: &Viewer<'_>, now: u64) -> String {
    let mut out = String::new();
    for (said, name) in &view.lines {
        out.push_str(&line(said, name, now));
    }
    for unsent in &view.unsent {
        out.push_str(&waiting(unsent, viewer));
    }
    if out.is_empty() {
        let words = match view.reach {
            Reach::Here => "Nobody has written here yet. Say hello!",
            _ => "Messages appear here as soon as the space is reached.",
        };
        let _ = write!(out, "<li class=\"empty\">{words}</li>");
    }
    out
}

/// One message.
pub fn line(said: &Line, name: &str, now: u64) -> String {
    let (machine, words) = (iso(said.at), ago(said.at, now));
    format!(
        "<li class=\"said\" id=\"m{}\"><b dir=\"auto\">{}</b><time datetime=\"{machine}\">{words}</time><p dir=\"auto\">{}</p></li>",
        Escaped(&said.id),
        Escaped(name),
        Escaped(&said.text)
    )
}

fn waiting(unsent: &Unsent, viewer: &Viewer<'_>) -> String {
    let id = unsent.event.id.to_hex();
    let text = Escaped(&unsent.event.content);
    let name = Escaped(viewer.name);
    let button = |action: &str, words: &str| {
        format!(
            "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"token\" value=\"{}\"><input type=\"hidden\" name=\"id\" value=\"{id}\"><button>{words}</button></form>",
            Escaped(viewer.form_token)
        )
    };
    match &unsent.delivery {
        Delivery::Pending => format!(
            "<li class=\"said pending\"><b dir=\"auto\">{name}</b><i>not sent yet</i><p dir=\"auto\">{text}</p></li>"
        ),
        Delivery::Failed(reason) => format!(
            "<li class=\"said failed\"><b dir=\"auto\">{name}</b><i>not sent: {}</i><p dir=\"auto\">{text}</p>{}{}</li>",
            Escaped(reason),
            button("again", "Try again"),
            button("forget", "Remove")
        ),
    }
}

/// A page that says one thing.
pub fn plain(title: &str, words: &str, nonce: &str) -> String {
    let body = format!(
        "<header><a href=\"/\">← All spaces</a><h1>{}</h1></header><main><p class=\"empty\">{}</p></main>",
        Escaped(title),
        Escaped(words)
    );
    document(title, nonce, &body)
}

/// How long ago, for readers without script, whose time zone is not known here.
fn ago(at: u64, now: u64) -> String {
    match now.saturating_sub(at) {
        0..60 => "just now".into(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => iso(at)[..10].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_stay_words() {
        let text = Escaped("<script>alert('x')</script> & \"\u{202e}evil\u{0}").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;evil"
        );
    }
}

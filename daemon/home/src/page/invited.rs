//! The page of an invitation, and the field for one on the first page.

use std::fmt::Write;

use super::{Escaped, Viewer, document};
use crate::guests::NAME_CHARS;
use crate::invitation::{About, Invitation};

/// The field for an invitation that somebody got as text.
pub const FIELD: &str = "<details class=\"invited\"><summary>I have an invitation</summary>\
    <form method=\"get\" action=\"/i/\"><label>The invitation as you got it<input name=\"invitation\" required maxlength=\"1024\" autocomplete=\"off\" spellcheck=\"false\"></label>\
    <button class=\"send\">Open</button></form></details>";

/// The page of an invitation; `said` is what happened when it was tried. Without `about` the space cannot be reached.
pub fn page(
    invitation: &Invitation,
    about: Option<&About>,
    viewer: &Viewer<'_>,
    said: Option<&str>,
    nonce: &str,
) -> String {
    let title = match about {
        Some(about) if !about.name.is_empty() => about.name.as_str(),
        _ => "A space",
    };
    let mut body = format!(
        "<header><a href=\"/\">← All spaces</a><h1 dir=\"auto\">{}</h1><p class=\"state\">You are invited</p></header><main class=\"invited\">",
        Escaped(title)
    );
    if let Some(file) = about.and_then(|about| about.picture.as_deref()) {
        let _ = write!(
            body,
            "<img class=\"picture\" alt=\"\" src=\"/s/{}/{}\">",
            invitation.service,
            Escaped(file)
        );
    }
    if let Some(about) = about.filter(|about| !about.about.is_empty()) {
        let _ = write!(
            body,
            "<p class=\"about\" dir=\"auto\">{}</p>",
            Escaped(&about.about)
        );
    }
    if let Some(said) = said {
        let _ = write!(
            body,
            "<p class=\"said away\" role=\"alert\">{}</p>",
            Escaped(said)
        );
    }
    if about.is_some() {
        let _ = write!(
            body,
            "<form method=\"post\"><input type=\"hidden\" name=\"token\" value=\"{}\">\
             <label>Your name<input name=\"name\" required maxlength=\"{NAME_CHARS}\" autocomplete=\"nickname\" dir=\"auto\" value=\"{}\"></label>\
             <button class=\"send\">Come in</button><p class=\"note\">People in the space see this name.</p></form>\
             <details><summary>Show it to somebody else</summary><img class=\"code\" alt=\"The invitation as a picture to scan\" src=\"{}/qr.svg\">\
             <p class=\"note\">Whoever scans this picture, or gets these letters, can come in as long as the invitation is good:</p><p class=\"letters\">{}</p></details>",
            Escaped(viewer.form_token),
            Escaped(viewer.name),
            Escaped(&invitation.path()),
            Escaped(&invitation.text())
        );
    } else {
        body.push_str("<p class=\"empty\">The space cannot be reached right now. The invitation stays good: try again later.</p><p class=\"empty\"><a href=\"\">Try again</a></p>");
    }
    body.push_str("</main>");
    document(title, nonce, &body)
}

//! Invitations as people read, paste and scan them.

use qrcode::render::unicode;
use qrcode::{EcLevel, QrCode};

use super::table;
use crate::control::protocol::{InviteLine, Invited};

/// Seconds since 1970 as a day, or "for ever".
pub fn day(seconds: Option<u64>) -> String {
    let Some(seconds) = seconds else {
        return String::from("for ever");
    };
    warren_home::iso(seconds)[..10].to_owned()
}

fn people(uses: Option<u32>) -> String {
    match uses {
        None => String::from("any number of people"),
        Some(1) => String::from("one person"),
        Some(uses) => format!("{uses} people"),
    }
}

/// A picture to scan, of half-block characters, dark on light whatever the terminal's colours are.
fn picture(link: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(link, EcLevel::L) else {
        return String::new();
    };
    // A terminal is dark, a scanner wants a light frame: light modules are drawn, dark ones left out.
    let drawn = code
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build();
    format!("{drawn}\n")
}

/// A new invitation.
pub fn made(invited: &Invited) -> String {
    let mut out = format!(
        "An invitation to {}: for {}, good {}{}.\n\n",
        invited.space,
        people(invited.uses),
        if invited.expires.is_some() {
            "until "
        } else {
            ""
        },
        day(invited.expires),
    );
    let mut row = |what: &str, value: &str| out.push_str(&format!("  {what:<17}{value}\n"));
    row("link, here", &invited.link);
    row("at any home", &invited.text);
    row("code", &invited.code);
    if let Some(naddr) = &invited.naddr {
        row("for Nostr apps", naddr);
    }
    out.push('\n');
    out.push_str(&picture(&invited.link));
    out.push_str(
        "\nA friend in another home's WiFi opens the link with the address of that home in front of /i/, or pastes the word \
         \"at any home\" under \"I have an invitation\" on its page.\n",
    );
    if !invited.visible {
        out.push_str(
            "The space is hidden: only people of this home reach it. `warrend space set NAME --visible yes` changes that, \
             and the invitation stays good.\n",
        );
    }
    out.push_str(&format!(
        "`warrend space revoke-invite NAME {}` takes it back.\n",
        invited.id
    ));
    out
}

/// Those that are open.
#[allow(clippy::ptr_arg)] // The shape of the answer.
pub fn list(invites: &Vec<InviteLine>) -> String {
    let rows: Vec<Vec<String>> = invites
        .iter()
        .map(|invite| {
            vec![
                invite.id.clone(),
                invite.code.clone(),
                match invite.uses {
                    Some(uses) => format!("{} of {uses}", invite.used),
                    None => invite.used.to_string(),
                },
                day(invite.expiration),
                invite.channel.clone().unwrap_or_else(|| "-".into()),
                invite.role.clone().unwrap_or_else(|| "-".into()),
            ]
        })
        .collect();
    table::render(
        &["ID", "CODE", "USED", "GOOD UNTIL", "CHANNEL", "ROLE"],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (1_798_761_600, "2027-01-01"),
            (u64::MAX, "9999-12-31"),
        ] {
            assert_eq!(day(Some(seconds)), expected);
        }
        assert_eq!(day(None), "for ever");
    }

    #[test]
    fn the_picture_is_made_of_half_blocks_in_a_frame() {
        let drawn = picture("http://warren.lan/i/x");
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(
            lines.len() > 12
                && lines
                    .iter()
                    .all(|line| line.chars().count() == lines[0].chars().count())
        );
        assert!(
            drawn
                .chars()
                .all(|c| "\u{2588}\u{2580}\u{2584} \n".contains(c))
        );
        // The quiet zone is light: drawn.
        assert!(lines[1].starts_with("\u{2588}\u{2588}"));
    }
}

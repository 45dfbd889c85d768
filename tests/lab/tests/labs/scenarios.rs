//! What a person can do, from end to end, over five routers in namespaces: one scenario for each promise, played by
//! nostr-tools, Blossom's client and the command line (`tests/nostr/scenarios`). Needs root and Node.js.

use warren_lab::{Result, neighbourhood};

/// Plays a scenario in a neighbourhood of its own.
fn play(name: &str) -> Result<()> {
    let Some(file) = crate::programs::scenario(name) else {
        return Ok(());
    };
    let status = neighbourhood::with(&["node", "--test", &file.to_string_lossy()])?;
    assert!(status.success(), "{name}: {status}");
    Ok(())
}

#[test]
fn a_space_is_made_with_one_command_joined_from_another_router_and_moved() -> Result<()> {
    play("1-spaces.js")
}

#[test]
fn people_talk_in_channels_with_roles_and_moderators() -> Result<()> {
    play("2-community.js")
}

#[test]
fn a_file_goes_up_through_one_home_and_down_through_another() -> Result<()> {
    play("3-files.js")
}

#[test]
fn a_large_file_passes_through_homes_whose_memory_stays_flat() -> Result<()> {
    play("large-file.js")
}

#[test]
fn an_account_at_home_signs_for_an_app_on_another_router() -> Result<()> {
    play("4-accounts.js")
}

#[test]
fn private_messages_arrive_at_homes_that_were_off_and_nobody_else_gets_them() -> Result<()> {
    play("5-messages.js")
}

#[test]
fn what_people_write_for_everybody_is_read_at_other_homes() -> Result<()> {
    play("6-feed.js")
}

#[test]
fn a_folder_is_published_as_a_site_and_read_in_a_browser_at_another_home() -> Result<()> {
    play("7-site.js")
}

#[test]
fn a_box_that_is_lost_comes_back_from_its_backup() -> Result<()> {
    play("8-backups.js")
}

//! The demonstration without root: one home with networking in user space and a space of its own. Makes no namespaces and
//! touches nothing but a folder and ports on loopback.

use std::time::Duration;

use super::{SPACE, Stop};
use crate::error::Result;
use crate::folder::Folder;
use crate::overlay::warrend::{Options, Warrend};

/// Where its page is.
const PAGE: &str = "127.0.0.1:8480";

/// Starts the home and keeps it until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let folder = Folder::make("home")?;
    super::runtime()?.block_on(async {
        let mut stop = Stop::listen()?;
        let options = Options {
            space: Some(SPACE.to_owned()),
            web: vec![PAGE.to_owned()],
            userspace: Some("[::1]:0".to_owned()),
            ..Options::default()
        };
        let mut home = Warrend::prepare_in(folder.path(), "home", None, &[], &options)?;
        home.start()?;
        let address = home.wait_for_address()?;
        println!(
            "Without root there are no network namespaces and no TUN device, so this is one home instead of five:\n\
             its page, its space \"{SPACE}\" and its mesh run as always, with TCP in user space; other programs of this\n\
             machine (ping, curl, iperf3) cannot use its address. Run scripts/run as root for the neighbourhood.\n\n\
             address  {address}\n\
             page     http://{PAGE}/\n\n\
             Ctrl-C stops and removes it."
        );
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => home.process()?.check()?,
                () = stop.wait() => break,
            }
        }
        home.process()?.stop(Duration::from_secs(5))?;
        println!("stopped; everything removed");
        Ok(())
    })
}

//! The demonstration without root: one home with networking in user space and a space of its own. Makes no namespaces and
//! touches nothing but a folder and ports on loopback.

use std::path::PathBuf;
use std::time::Duration;

use super::{SPACE, Stop};
use crate::error::{LabError, Result};
use crate::overlay::warrend::{Options, Warrend};

/// Where its page is.
const PAGE: &str = "127.0.0.1:8480";

/// Starts the home and keeps it until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let folder = Folder::make()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("starting the runtime"))?;
    runtime.block_on(async {
        let mut stop = Stop::listen()?;
        let options = Options {
            space: Some(SPACE.to_owned()),
            web: vec![PAGE.to_owned()],
            userspace: Some("[::1]:0".to_owned()),
            ..Options::default()
        };
        let mut home = Warrend::prepare_in(&folder.0, "home", None, &[], &options)?;
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

/// A folder that is removed with its content when dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("warren-home-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(LabError::io(format!("making {}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system's own cleaning of temporary folders takes what could not be removed here.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

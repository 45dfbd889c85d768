//! The Babel daemon in a lab: announces the address on each node's loopback, the kernel forwards. Intervals and everything
//! else are its defaults.

use std::fs;
use std::path::Path;

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::overlay::Running;
use crate::process::Process;

const PROGRAM: &str = "babeld";

/// Starts it on every node.
pub fn start_everywhere(lab: &Lab) -> Result<Running> {
    let addresses = lab.plain_addresses()?;
    let mut daemons = Vec::new();
    for (node, address) in addresses.iter().enumerate() {
        let name = &lab.topology().names[node];
        let folder = lab.folder().join(format!("{PROGRAM}-{name}"));
        fs::create_dir_all(&folder)
            .map_err(LabError::io(format!("making {}", folder.display())))?;
        let config = folder.join("config");
        fs::write(
            &config,
            format!("redistribute local ip {address}/128 allow\nredistribute local deny\n"),
        )
        .map_err(LabError::io(format!("writing {}", config.display())))?;
        let file = |what: &str| folder.join(what).to_string_lossy().into_owned();
        let (config, state, pid) = (file("config"), file("state"), file("pid"));
        let interfaces: Vec<String> = lab
            .topology()
            .neighbours(node)
            .into_iter()
            .map(|n| lab.topology().interface(n))
            .collect();
        let mut arguments = vec!["-c", &config, "-S", &state, "-I", &pid];
        arguments.extend(interfaces.iter().map(String::as_str));
        daemons.push(Process::start(
            &format!("{PROGRAM} on {name}"),
            Some(&lab.namespace(node)),
            Path::new(PROGRAM),
            &arguments,
            &folder.join("log"),
        )?);
    }
    Ok(Running { daemons, addresses })
}

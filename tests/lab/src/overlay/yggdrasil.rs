//! Yggdrasil in a lab: finds its neighbours by its own multicast, as it would by radio. Its keys are made by itself.

use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;

use serde_json::{Value, json};

use crate::command::run;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::overlay::Running;
use crate::process::Process;

const PROGRAM: &str = "yggdrasil";

/// Starts it on every node.
pub fn start_everywhere(lab: &Lab) -> Result<Running> {
    let mut configs = Vec::new();
    for name in &lab.topology().names {
        configs.push(configure(&lab.folder().join(format!("{PROGRAM}-{name}")))?);
    }
    let mut running = Running {
        daemons: Vec::new(),
        addresses: Vec::new(),
    };
    for (node, (config, address)) in configs.into_iter().enumerate() {
        let name = &lab.topology().names[node];
        let log = lab.folder().join(format!("{PROGRAM}-{name}/log"));
        running.daemons.push(Process::start(
            &format!("{PROGRAM} on {name}"),
            Some(&lab.namespace(node)),
            Path::new(PROGRAM),
            &["-useconffile", &config],
            &log,
        )?);
        running.addresses.push(address);
    }
    Ok(running)
}

/// A configuration with new keys: everything as generated, but for the names of the interfaces.
fn configure(folder: &Path) -> Result<(String, Ipv6Addr)> {
    fs::create_dir_all(folder).map_err(LabError::io(format!("making {}", folder.display())))?;
    let text = run(PROGRAM, &["-genconf", "-json"])?;
    let mut config: Value = serde_json::from_str(&text)
        .map_err(|_| LabError::answer("yggdrasil -genconf", "no JSON"))?;
    config["MulticastInterfaces"] =
        json!([{ "Regex": "to-.*", "Beacon": true, "Listen": true, "Port": 0 }]);
    config["IfName"] = json!("ygg0");
    config["AdminListen"] = json!(format!("unix://{}/admin.sock", folder.display()));
    let path = folder.join("config.json");
    fs::write(&path, config.to_string())
        .map_err(LabError::io(format!("writing {}", path.display())))?;
    let path = path.to_string_lossy().into_owned();
    let answer = run(PROGRAM, &["-useconffile", &path, "-address"])?;
    let address = answer
        .trim()
        .parse()
        .map_err(|_| LabError::answer("yggdrasil -address", &answer))?;
    Ok((path, address))
}

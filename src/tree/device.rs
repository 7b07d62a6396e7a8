//! The product in, the device configuration that the agent reads out.
//!
//! Invariant: what is written passes the agent's own checks.

use super::accounts::Accounts;
use super::parameters::{Product, Service};
use super::problem::Problems;
use osbuild_format::device::{AppConfig, DeviceConfig, DeviceConfigError, ServiceConfig, FORMAT};

/// The file's bytes; none when a problem was reported.
pub fn device_json(
    product: &Product,
    accounts: &Accounts,
    apps: Vec<AppConfig>,
    problems: &mut Problems,
) -> Option<Vec<u8>> {
    let mut services = Vec::new();
    for (name, service) in &product.services {
        services.push(service_config(name, service, accounts, problems)?);
    }
    // The numbers that a product cannot set yet have their one place in the format's defaults.
    let defaults: DeviceConfig = serde_json::from_value(serde_json::json!({
        "format": FORMAT, "product": product.name, "version": product.version, "machine": product.machine,
        "hostname": product.hostname, "console": product.console,
    }))
    .expect("every field without a default is given");
    let config = DeviceConfig {
        ntp_servers: product.ntp_servers.clone(),
        production: product.production,
        update_channel: product.update_channel.clone(),
        support_until: product.support_until.clone(),
        services,
        dns_servers: product.dns_servers.clone(),
        devices: product.devices.clone(),
        interfaces: product.interfaces.clone(),
        apps,
        app_signers: product.app_signers.clone(),
        capability_signers: product.capability_signers.clone(),
        safe_mode: product.safe_mode,
        security_epoch: product.security_epoch,
        update: product.update.clone(),
        ..defaults
    };
    match config.to_json() {
        Ok(bytes) => Some(bytes),
        Err(DeviceConfigError::Rule(problem)) => {
            problems.add(format!("the agent could not use the product's settings: {problem}"));
            None
        }
        Err(error) => {
            problems.add(error.to_string());
            None
        }
    }
}

fn service_config(
    name: &str,
    service: &Service,
    accounts: &Accounts,
    problems: &mut Problems,
) -> Option<ServiceConfig> {
    let label = format!("service `{name}` ({})", service.origin);
    let uid = accounts.user(&service.user, &label, problems);
    let gid = accounts.group(&service.group, &label, problems);
    Some(ServiceConfig {
        name: name.to_owned(),
        argv: service.argv.clone(),
        user: service.user.clone(),
        uid: uid?,
        gid: gid?,
        env: service.env.clone(),
        after: service.after.clone(),
        restart: service.restart,
        stop_timeout_seconds: service.stop_timeout_seconds,
        terminal: service.terminal.clone(),
        critical: service.critical,
    })
}

//! The messages to the service manager, sd_notify(3): at a start, a reload, a refused reload and a stop.

use std::{
    os::unix::net::UnixDatagram,
    sync::{Arc, Mutex},
    thread,
};

use e2e::{TestEnv, UPLOAD};
use nix::sys::signal::Signal;

/// A service manager that collects the messages.
struct Messages(Arc<Mutex<Vec<String>>>);

impl Messages {
    /// Starts a daemon whose messages are collected.
    fn start(env: &mut TestEnv) -> Self {
        let path = env.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let messages: Arc<Mutex<Vec<String>>> = Arc::default();
        let collected = Arc::clone(&messages);
        // The thread ends with the process of the test. A full queue would block the daemon.
        thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                collected.lock().unwrap().push(text);
            }
        });
        let mut command = env.daemon_command();
        command.env("NOTIFY_SOCKET", path);
        env.start_daemon_with(command);
        Self(messages)
    }

    /// Returns the messages that contain a text, in their order.
    fn with(&self, text: &str) -> Vec<String> {
        let messages = self.0.lock().unwrap();
        messages
            .iter()
            .filter(|it| it.contains(text))
            .cloned()
            .collect()
    }

    fn last_status(&self) -> String {
        let last = self.with("STATUS=").pop().unwrap_or_default();
        let status = last.lines().find_map(|it| it.strip_prefix("STATUS="));
        status.unwrap_or_default().to_owned()
    }
}

#[test]
fn service_manager_learns_of_reloads_problems_and_the_stop() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let messages = Messages::start(&mut env);
    env.wait_until("READY=1", || messages.with("READY=1").len() == 1);
    assert_eq!(messages.last_status(), "profiles: 1");

    let second = UPLOAD.replace("[profile.oss-upload]", "[profile.second]");
    env.write_config(&format!("{UPLOAD}{second}"));
    assert!(env.ctl(&["reload"]).status.success());
    // Sent before the answer to stsctl, which is the end of `systemctl reload`.
    let reloading = messages.with("RELOADING=1");
    env.wait_until("both", || messages.with("READY=1").len() == 2);
    assert!(reloading.len() <= 1, "{reloading:?}");
    let reloading = messages.with("RELOADING=1");
    assert!(reloading[0].contains("MONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(messages.last_status(), "profiles: 2");

    env.write_config("colour = 1\n");
    let refused = env.ctl(&["reload"]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "it fails `systemctl reload`"
    );
    env.daemon().signal(Signal::SIGHUP);
    env.wait_until("the problem", || {
        let status = messages.last_status();
        status.starts_with("profiles: 2; configuration: the last reload was refused")
            && status.contains("colour")
    });
    env.wait_until("the end of each reload", || {
        messages.with("RELOADING=1").len() == 3 && messages.with("READY=1").len() == 4
    });

    env.write_config(UPLOAD);
    env.daemon().signal(Signal::SIGHUP);
    env.wait_until("the end of the problem", || {
        messages.last_status() == "profiles: 1"
    });
    assert_eq!(messages.with("STOPPING=1"), Vec::<String>::new());
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    env.wait_until("STOPPING=1", || messages.with("STOPPING=1").len() == 1);
}

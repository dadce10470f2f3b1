//! The Kubernetes pod of a control group: a path of `/proc/PID/cgroup` in, the UID of the pod out.
//!
//! The kubelet makes a group for each pod below its own root, and the container runtime one for each
//! container below that. The names are the kubelet's as far as the pod's, in both of its drivers:
//!
//! ```text
//! /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-ID.scope
//! /kubepods/burstable/podUID/ID
//! ```
//!
//! A container chooses the names below its own group, so that the first pod of a path counts, and only
//! below the kubelet's root. A daemon in a control group namespace of its own sees that root behind `..`.
//! Source: `pkg/kubelet/cm/{cgroup_manager_linux,qos_container_manager_linux}.go` of Kubernetes.

use crate::profile::PodUid;

/// The kubelet's groups for the classes of service, without the root.
const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// Returns the UID of the pod; `None` for a path without a pod.
pub(super) fn of_path(path: &str) -> Option<PodUid> {
    let mut names = path.split('/').filter(|it| !it.is_empty()).peekable();
    let is_relative = names.peek() == Some(&"..");
    let mut names = names.skip_while(|it| *it == "..").peekable();
    match *names.peek()? {
        "kubepods.slice" | "kubepods" => {
            names.next();
        }
        // In a namespace, the kubelet's root may be the common parent, whose name is not in the path.
        _ if is_relative => {}
        _ => return None,
    }
    let first = *names.peek()?;
    if CLASSES.contains(&first) || CLASSES.iter().any(|it| first == class_slice(it)) {
        names.next();
    }
    pod(names.next()?)
}

fn class_slice(class: &str) -> String {
    format!("kubepods-{class}.slice")
}

/// Returns the UID in the name of a pod's group.
fn pod(name: &str) -> Option<PodUid> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => {
            let rest = slice.strip_prefix("kubepods-")?;
            let in_class = |class: &&str| rest.strip_prefix(*class)?.strip_prefix('-');
            let rest = CLASSES.iter().find_map(in_class).unwrap_or(rest);
            let escaped = rest.strip_prefix("pod")?;
            // systemd's `-` separates slices.
            if escaped.contains('-') {
                return None;
            }
            escaped.replace('_', "-")
        }
        None => name.strip_prefix("pod")?.to_owned(),
    };
    PodUid::new(&uid).ok()
}

#[cfg(test)]
mod tests {
    use super::{PodUid, of_path};

    const UID: &str = "3f2b1c4d-0a1b-4c5d-8e9f-001122334455";
    const ESCAPED: &str = "3f2b1c4d_0a1b_4c5d_8e9f_001122334455";

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        let path = path.replace("UID", UID).replace("ESCAPED", ESCAPED);
        let found = of_path(&path);
        assert_eq!(found.as_ref().map(PodUid::as_str), expected, "{path}");
    }

    #[test]
    fn pod_is_named_by_both_drivers_and_runtimes() {
        for path in [
            "/kubepods.slice/kubepods-podESCAPED.slice/cri-containerd-0123.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podESCAPED.slice/crio-0123.scope",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podESCAPED.slice/docker-0123.scope",
            "/kubepods/podUID/0123",
            "/kubepods/burstable/podUID/0123",
            "/kubepods/besteffort/podUID/crio-0123/below",
        ] {
            check(path, Some(UID));
        }
    }

    #[test]
    fn pod_is_named_behind_a_namespace_of_the_daemon() {
        for path in [
            "/../../../kubepods-burstable.slice/kubepods-burstable-podESCAPED.slice/cri-containerd-1.scope",
            "/../../kubepods-podESCAPED.slice/cri-containerd-1.scope",
            "/../../../../kubepods.slice/kubepods-podESCAPED.slice/cri-containerd-1.scope",
            "/../../burstable/podUID/0123",
            "/../../podUID/0123",
        ] {
            check(path, Some(UID));
        }
        check("/../cri-containerd-1.scope", None);
        check("/", None);
    }

    #[test]
    fn name_that_a_container_or_a_user_can_choose_is_no_pod() {
        for path in [
            // Below a container, a unit, a user's manager.
            "/../cri-containerd-1.scope/kubepods-podESCAPED.slice/x.scope",
            "/system.slice/a.service/kubepods/podUID/0123",
            "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-podESCAPED.slice/x.scope",
            "/machine.slice/kubepods.slice/kubepods-podESCAPED.slice/x.scope",
            "/podUID/0123",
            "/kubepods-podESCAPED.slice/x.scope",
            // No UID.
            "/kubepods/pod/0123",
            "/kubepods/podx/0123",
            "/kubepods/podUIDx/0123",
            "/kubepods.slice/kubepods-podUID.slice/x.scope",
            "/kubepods/burstable",
            "/kubepods",
            "/..",
        ] {
            check(path, None);
        }
        // The first pod counts.
        let other = "/kubepods/podUID/0123/kubepods/pod00000000-0000-0000-0000-000000000000/x";
        check(other, Some(UID));
    }
}

#!/bin/sh
# A service with a fixed user can read a key file of that user: systemd before 247 has no credentials.
# No file of the package belongs to the user, so that the package can be installed without.
make_user() {
    if getent passwd stsd >/dev/null 2>&1 || systemd-sysusers stsd.conf 2>/dev/null; then
        return 0
    fi
    useradd --system --user-group --no-create-home --home-dir / --shell /sbin/nologin stsd 2>/dev/null ||
        echo "stsd: the user stsd is not created: systemd-sysusers and useradd failed"
}

make_user
link_drop_in
reload_manager
if [ "$1" -gt 1 ]; then
    report_upgrade
fi

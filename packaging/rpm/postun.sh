#!/bin/sh
# The user stays, as is usual: files may belong to the user.
if [ "$1" = 0 ]; then
    unlink_drop_in
    reload_manager
fi

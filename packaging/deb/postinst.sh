#!/bin/sh
if [ "$1" = configure ]; then
    reload_manager
    if [ -n "$2" ]; then
        report_upgrade
    fi
fi

#!/bin/sh
if [ "$1" = remove ]; then
    reload_manager
fi

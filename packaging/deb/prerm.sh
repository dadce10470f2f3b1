#!/bin/sh
if [ "$1" = remove ]; then
    stop_units
fi

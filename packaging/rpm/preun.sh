#!/bin/sh
if [ "$1" = 0 ]; then
    stop_units
fi

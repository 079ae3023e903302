#!/bin/sh -e
. "$(dirname "$0")/functions.sh"
. "${0%/*}/../lib/common.sh"
hello web
common
sh "${0%/*}/parts/part.sh"

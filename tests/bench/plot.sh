#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# plot.sh DIR: pictures (SVG) of what the benchmarks have left in DIR, beside their tables:
# ratios, interval, compression, outage, wire. A table that is not there is passed by.

set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
if [ $# -ne 1 ] || [ ! -d "$1" ]; then
	echo "usage: plot.sh DIR (make bench puts its results into bench-results)" >&2
	exit 2
fi
if ! command -v gnuplot >/dev/null; then
	echo "There is no gnuplot here (Debian: gnuplot-nox), so there are no pictures." >&2
	exit 1
fi
cd "$1" || exit 1
WORK=$(mktemp -d) || exit 1
trap 'rm -rf "$WORK"' EXIT

# What all pictures have in common. Colours that differ in brightness too.
STYLE='
set encoding utf8
set datafile separator tab
set border 3 lw 1 lc rgb "#607080"
set tics nomirror out scale 0.5 textcolor rgb "#203040"
set grid lc rgb "#d8dee4" lw 1
set key textcolor rgb "#203040" samplen 2
set title font ",15" textcolor rgb "#203040"
NONE = "#b0bec5"; FIRST = "#90caf9"; SECOND = "#1e88e5"; THIRD = "#0d3c75"
MET = "#43a047"; MISSED = "#e53935" # in decimal in draw_ratios
'

# draw NAME WIDTH HEIGHT: a picture, by the script on stdin; its data are in W
draw() {
	{
		echo "set terminal svg size $2,$3 dynamic noenhanced font 'sans-serif,13' background '#ffffff'"
		echo "set output '$1.svg'"
		echo "W = '$WORK/'"
		echo "$STYLE"
		cat
	} >"$WORK/$1.gnuplot"
	if ! gnuplot "$WORK/$1.gnuplot" 2>"$WORK/$1.log"; then
		echo "plot.sh: $1: gnuplot failed" >&2
		cat "$WORK/$1.log" >&2
		return 1
	fi
	echo "$PWD/$1.svg"
}

# rows FILE COLUMN...: without the heading; a COLUMN=VALUE chooses lines, the others print
rows() {
	awk -F '\t' -v list="$(printf '%s\t' "${@:2}")" '
		NR == 1 {
			for (i = 1; i <= NF; i++)
				column[$i] = i
			n = split(list, want, "\t") - 1
			next
		}
		{
			line = ""
			for (i = 1; i <= n; i++) {
				at = index(want[i], "=")
				if (at == 0)
					line = line (line == "" ? "" : "\t") $column[want[i]]
				else if ($column[substr(want[i], 1, at - 1)] "" != substr(want[i], at + 1) "")
					next
			}
			print line
		}' "$1"
}

# ---- the pictures ----

# Figures with a target: a bar is the best, a dot the median, a line across it the target.
draw_ratios() {
	local count height
	"$HERE/summary.awk" -v plain=1 ratios.tsv | awk -F '\t' -v OFS='\t' '
		$4 != "-" {
			print $1, $2, $3, substr($4, 3), n++, \
				$5 == "yes" ? 4431943 : 15022389, $2 " (" $4 ($5 == "yes" ? ")" : "), missed")
		}' >"$WORK/ratios"
	if [ ! -s "$WORK/ratios" ]; then
		echo "ratios: none of them has a target"
		return 0
	fi
	count=$(wc -l <"$WORK/ratios")
	height=$((114 + 30 * count))
	{
		echo "count = $count; height = $height"
		cat <<-'EOT'
			set title "Ratios within one run: ours by what it is held against; bars are the best" offset -20, 0.6
			stats W."ratios" using 2 nooutput name "BEST"
			stats W."ratios" using 4 nooutput name "TARGET"
			stats W."ratios" using 3 nooutput name "MEDIAN"
			larger(a, b) = a > b ? a : b
			most_of(a, b, c) = larger(larger(a, b), c)
			set xrange [0:most_of(BEST_max, TARGET_max, MEDIAN_max) * 1.3]
			set yrange [count - 0.4:-0.6]
			set grid noytics
			set border 1
			set ytics scale 0
			set lmargin 54
			set tmargin at screen 1 - 76.0 / height
			set key at screen 0.98, screen 1 - 38.0 / height right horizontal
			plot W."ratios" using (0):5:(0):2:($5 - 0.3):($5 + 0.3):6:ytic(1) \
				with boxxyerror fs solid noborder lc rgb variable notitle, \
				keyentry with boxes fs solid noborder lc rgb MET title "target met", \
				keyentry with boxes fs solid noborder lc rgb MISSED title "missed", \
				W."ratios" using 3:5 with points pt 7 ps 0.6 lc rgb "black" title "median", \
				W."ratios" using 4:($5 - 0.45):(0):(0.9) \
				with vectors nohead lw 3 lc rgb "#203040" title "target", \
				W."ratios" using (most_of($2, $3, $4)):5:7 with labels left offset 1.5, 0 \
				textcolor rgb "#203040" notitle
		EOT
	} | draw ratios 1000 "$height"
}

# ordinal FILE: lines of x, value...: x becomes its place in the order, and is the label
ordinal() {
	sort -n "$1" | awk -F '\t' -v OFS='\t' '!($1 in at) { at[$1] = n++ } { print at[$1], $0 }'
}

draw_interval() {
	local rate
	for rate in 10 100 1000; do
		rows interval.tsv "messages_per_s=$rate" interval_ms disk_bytes_per_message ack_p50_ms \
			ack_p99_ms puback_p50_ms >"$WORK/rows"
		ordinal "$WORK/rows" >"$WORK/interval-$rate"
		[ -s "$WORK/interval-$rate" ] || echo $'-1\t\t-\t-\t-\t-' >"$WORK/interval-$rate"
	done
	draw interval 1100 440 <<-'EOT'
		set datafile missing "-"
		set multiplot layout 1, 2 title "What journal.commit_interval_ms costs and saves" font ",16"
		set xrange [-0.3:3.3]
		set xlabel "commit_interval_ms"
		set logscale y
		set format y "%.0s %c"
		set title "Bytes written to the device for each message"
		set ylabel "bytes"
		set key top right
		plot W."interval-10" using 1:3:xtic(2) with linespoints pt 7 lw 2 lc rgb FIRST title "10 messages/s", \
			W."interval-100" using 1:3:xtic(2) with linespoints pt 7 lw 2 lc rgb SECOND title "100/s", \
			W."interval-1000" using 1:3:xtic(2) with linespoints pt 7 lw 2 lc rgb THIRD title "1,000/s"
		set title "From publish to Kafka's acknowledgement"
		set ylabel "ms"
		set format y "%g"
		set key bottom right
		plot W."interval-10" using 1:4:xtic(2) with linespoints pt 7 lw 2 lc rgb FIRST title "10 messages/s, median", \
			W."interval-100" using 1:4:xtic(2) with linespoints pt 7 lw 2 lc rgb SECOND title "100/s", \
			W."interval-1000" using 1:4:xtic(2) with linespoints pt 7 lw 2 lc rgb THIRD title "1,000/s", \
			W."interval-10" using 1:5:xtic(2) with linespoints pt 6 dt 2 lc rgb FIRST notitle, \
			W."interval-100" using 1:5:xtic(2) with linespoints pt 6 dt 2 lc rgb SECOND notitle, \
			W."interval-1000" using 1:5:xtic(2) with linespoints pt 6 dt 2 lc rgb THIRD notitle, \
			keyentry with linespoints pt 6 dt 2 lc rgb "black" title "dashed: 99th percentile"
	EOT
}

draw_compression() {
	local codec
	for codec in none zstd; do
		rows compression.tsv "codec=$codec" messages_per_batch kept_per_payload_byte \
			file_per_payload_byte append_us read_us >"$WORK/compression-$codec"
	done
	draw compression 1100 440 <<-'EOT'
		set multiplot layout 1, 2 title "journal.compression on JSON telemetry" font ",16"
		set xtics scale 0
		set style fill solid noborder
		set xrange [-0.6:2.6]
		set xlabel "messages a batch"
		set yrange [0:*]
		set offsets 0, 0, 0.2, 0
		set grid noxtics
		set title "Bytes kept for each byte of JSON"
		set key top right
		plot W."compression-none" using ($0 - 0.3):2:(0.18):xtic("") with boxes lc rgb NONE title "none: batches", \
			W."compression-none" using ($0 - 0.1):3:(0.18):xtic(1) with boxes lc rgb "#78909c" title "none: the file", \
			W."compression-zstd" using ($0 + 0.1):2:(0.18) with boxes lc rgb SECOND title "zstd: batches", \
			W."compression-zstd" using ($0 + 0.3):3:(0.18) with boxes lc rgb THIRD title "zstd: the file", \
			W."compression-none" using ($0 - 0.3):2:(sprintf("%.2f", $2)) with labels offset 0, 0.6 font ",11" notitle, \
			W."compression-none" using ($0 - 0.1):3:(sprintf("%.2f", $3)) with labels offset 0, 0.6 font ",11" notitle, \
			W."compression-zstd" using ($0 + 0.1):2:(sprintf("%.2f", $2)) with labels offset 0, 0.6 font ",11" notitle, \
			W."compression-zstd" using ($0 + 0.3):3:(sprintf("%.2f", $3)) with labels offset 0, 0.6 font ",11" notitle
		set title "Processor time for each message"
		set ylabel "us"
		set yrange [0.05:*]
		set offsets 0, 0, 0, 0
		set logscale y
		plot W."compression-none" using ($0 - 0.3):4:(0.18) with boxes lc rgb NONE title "none: to append", \
			W."compression-zstd" using ($0 - 0.1):4:(0.18):xtic(1) with boxes lc rgb SECOND title "zstd: to append", \
			W."compression-none" using ($0 + 0.1):5:(0.18) with boxes lc rgb "#78909c" title "none: to read", \
			W."compression-zstd" using ($0 + 0.3):5:(0.18) with boxes lc rgb THIRD title "zstd: to read", \
			W."compression-none" using ($0 - 0.3):4:(sprintf("%.2f", $4)) with labels offset 0, 0.6 font ",11" notitle, \
			W."compression-zstd" using ($0 - 0.1):4:(sprintf("%.2f", $4)) with labels offset 0, 0.6 font ",11" notitle, \
			W."compression-none" using ($0 + 0.1):5:(sprintf("%.2f", $5)) with labels offset 0, 0.6 font ",11" notitle, \
			W."compression-zstd" using ($0 + 0.3):5:(sprintf("%.2f", $5)) with labels offset 0, 0.6 font ",11" notitle
	EOT
}

draw_outage() {
	local interval
	for interval in 10 100 1000 5000; do
		rows outage.tsv "interval_ms=$interval" messages_per_s hours_per_gb_none \
			hours_per_gb_zstd >"$WORK/outage-$interval"
	done
	draw outage 980 520 <<-'EOT'
		set title "How long an outage may take until the journal has grown by 1 GB"
		set logscale xy
		set xrange [0.8:1300]
		set xlabel "messages a second"
		set ytics ("1 hour" 1, "6 hours" 6, "1 day" 24, "1 week" 168, "4 weeks" 672, "6 months" 4383)
		set key outside right center
		plot for [i = 1:4] W."outage-".word("10 100 1000 5000", i) using 1:3 with linespoints pt 7 lw 2 \
			lc rgb word("#90caf9 #42a5f5 #1565c0 #08306b", i) \
			title "zstd, commit_interval_ms ".word("10 100 1000 5000", i), \
			for [i = 1:4] W."outage-".word("10 100 1000 5000", i) using 1:2 with linespoints pt 6 dt 2 lw 1.5 \
			lc rgb word("#d7c4b4 #bf9d80 #8d6e63 #4e342e", i) \
			title "none, commit_interval_ms ".word("10 100 1000 5000", i)
	EOT
}

# wire_bars NAME PART: each case of a part on the link that it is about, in MB a day
wire_bars() {
	rows wire.tsv "part=$2" link case up_bytes down_bytes | awk -F '\t' -v OFS='\t' -v part="$2" '
		($1 == "mqtt") == ($2 ~ /^MQTT/) || (part == "idle" && $2 == "as it is") {
			label = $2 ~ /^MQTT/ ? $2 : ($1 == "mqtt" ? "MQTT, " : "Kafka, ") $2
			if (!seen[label]++)
				print label, $3 / 1e6, $4 / 1e6, n++
		}' >"$WORK/$1"
	[ -s "$WORK/$1" ] || echo $'not measured\t0\t0\t0' >"$WORK/$1"
}

draw_wire() {
	local codec rate linger idle outage
	for linger in 5 1000; do
		for codec in none gzip snappy lz4 zstd; do
			for rate in 1 100 2000; do
				rows wire.tsv part=messages link=kafka case=payload "compression=$codec" \
					"linger_ms=$linger" "per_second=$rate" up_bytes
			done | paste -s | awk -v OFS='\t' -v codec=$codec 'NF == 3 { print codec, $0 }'
		done >"$WORK/wire-$linger"
		[ -s "$WORK/wire-$linger" ] || echo $'-\t0\t0\t0' >"$WORK/wire-$linger"
	done
	wire_bars wire-idle idle
	wire_bars wire-outage outage
	idle=$(wc -l <"$WORK/wire-idle")
	outage=$(wc -l <"$WORK/wire-outage")
	{
		echo "idle = $idle; outage = $outage"
		cat <<-'EOT'
			set multiplot layout 2, 2 title "Bytes of IP on the way to Kafka and to the MQTT broker" font ",16"
			set style fill solid noborder
			set grid noxtics
			set xtics scale 0
			set xrange [-0.6:4.6]
			set yrange [0:*]
			set offsets 0, 0, 60, 0
			set key top right horizontal
			set ylabel "bytes"
			do for [linger in "5 1000"] {
				set title "Sent to Kafka for each message, kafka.linger_ms ".linger
				file = W."wire-".linger
				plot file using ($0 - 0.27):2:(0.25) with boxes lc rgb FIRST title "1/s", \
					file using 0:3:(0.25):xtic(1) with boxes lc rgb SECOND title "100/s", \
					file using ($0 + 0.27):4:(0.25) with boxes lc rgb THIRD title "2,000/s", \
					file using ($0 - 0.27):2:(sprintf("%.0f", $2)) with labels offset 0, 0.6 font ",10" notitle, \
					file using 0:3:(sprintf("%.0f", $3)) with labels offset 0, 0.6 font ",10" notitle, \
					file using ($0 + 0.27):4:(sprintf("%.0f", $4)) with labels offset 0, 0.6 font ",10" notitle
			}
			set offsets 0, 0, 0, 0
			unset ylabel
			set grid xtics noytics
			set xtics scale 0.5
			set ytics scale 0
			set lmargin 32
			set xlabel "MB a day"
			set logscale x
			set key tmargin right horizontal
			do for [part in "idle outage"] {
				set title part eq "idle" ? "A day without messages" : "A day without the other end"
				count = part eq "idle" ? idle : outage
				set xrange [0.01:1000]
				set yrange [count - 0.4:-0.6]
				file = W."wire-".part
				plot file using (0.01):4:(0.01):($2 > 0.01 ? $2 : 0.01):($4 - 0.35):4:ytic(1) \
					with boxxyerror lc rgb SECOND title "sent", \
					file using (0.01):4:(0.01):($3 > 0.01 ? $3 : 0.01):4:($4 + 0.35) \
					with boxxyerror lc rgb FIRST title "received"
			}
		EOT
	} | draw wire 1100 $((480 + 26 * (idle > outage ? idle : outage)))
}

drawn=0
for name in ratios interval compression outage wire; do
	if [ -s $name.tsv ]; then
		draw_$name || exit 1
		drawn=$((drawn + 1))
	else
		echo "$name: there is no $name.tsv in $PWD"
	fi
done
[ $drawn -gt 0 ]

<?php
function work() {
	$sum = 0;
	for ($i = 0; $i < 10000; $i += 1) {
		$line = "X-Header-" . $i . ":  <user" . $i . "@mail.example.com> text";
		preg_match('/^([A-Za-z0-9-]+):\s*(.*)$/', $line, $parts);
		$sum += strlen($parts[1]) + strlen($parts[2]);
		if (preg_match('/<[^@>]+@[a-z.]+>/', $line)) $sum += 1;
	}
	return $sum;
}

<?php
function work() {
	$text = "";
	for ($i = 0; $i < 500000; $i += 1) {
		$line = "X-Line-" . $i . ": value " . $i . "\r\n";
		$text .= $line;
	}
	return strlen($text);
}

<?php
$records = [];
for ($i = 0; $i < 9000; $i += 1) {
	$records[] = [
		"id" => $i,
		"sender" => "user" . $i . "@example.com",
		"tags" => ["inbound", "tls", "spf=pass"],
		"score" => $i / 4,
		"done" => true,
	];
}
function work() {
	global $records;
	$text = json_encode($records);
	$back = json_decode($text, true);
	return strlen($text) + count($back);
}

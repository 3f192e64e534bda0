<?php
function work() {
	$list = [];
	for ($i = 0; $i < 1000000; $i += 1) $list[] = $i;
	$sum = 0;
	for ($i = 0; $i < 1000000; $i += 2) $sum += $list[$i];
	foreach ($list as $value) $sum += $value;
	$map = [];
	for ($i = 0; $i < 100000; $i += 1) $map["key" . $i] = $i;
	for ($i = 0; $i < 100000; $i += 1) $map["key" . $i] += 1;
	return $sum + $map["key99999"] + count($map);
}

<?php
function work() {
	$list = [];
	$seed = 42;
	for ($i = 0; $i < 1000000; $i += 1) {
		$seed = ($seed * 16807) % 2147483647;
		$list[] = $seed;
	}
	usort($list, function ($a, $b) { return $a <=> $b; });
	return $list[0] + $list[500000] + $list[999999];
}

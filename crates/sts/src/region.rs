//! The regions of Alibaba Cloud, as far as the endpoints of STS depend on them.

/// The regions of the vendor's page of the endpoints of STS
/// (<https://www.alibabacloud.com/help/en/ram/developer-reference/api-sts-2015-04-01-endpoint>) and of its
/// list of regions and zones. A region that is missing here may be a newer one.
const KNOWN: [&str; 36] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-southeast-1",
    "ap-southeast-3",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "cn-beijing",
    "cn-beijing-finance-1",
    "cn-chengdu",
    "cn-fuzhou",
    "cn-guangzhou",
    "cn-hangzhou",
    "cn-hangzhou-finance",
    "cn-heyuan",
    "cn-heyuan-acdr-1",
    "cn-hongkong",
    "cn-huhehaote",
    "cn-nanjing",
    "cn-north-2-gov-1",
    "cn-qingdao",
    "cn-shanghai",
    "cn-shanghai-finance-1",
    "cn-shenzhen",
    "cn-shenzhen-finance-1",
    "cn-wuhan-lr",
    "cn-wulanchabu",
    "cn-zhangjiakou",
    "cn-zhengzhou-jva",
    "eu-central-1",
    "eu-west-1",
    "me-central-1",
    "me-east-1",
    "na-south-1",
    "us-east-1",
    "us-west-1",
];

/// The regions whose endpoint is the global one, in the vendor's client (`alibabacloud_sts20150401`
/// 1.2.0, `client.py`).
const GLOBAL: [&str; 32] = [
    "ap-northeast-2-pop",
    "ap-south-1",
    "ap-southeast-2",
    "cn-beijing-finance-pop",
    "cn-beijing-gov-1",
    "cn-beijing-nu16-b01",
    "cn-edge-1",
    "cn-fujian",
    "cn-haidian-cm12-c01",
    "cn-hangzhou-bj-b01",
    "cn-hangzhou-internal-prod-1",
    "cn-hangzhou-internal-test-1",
    "cn-hangzhou-internal-test-2",
    "cn-hangzhou-internal-test-3",
    "cn-hangzhou-test-306",
    "cn-hongkong-finance-pop",
    "cn-huhehaote-nebula-1",
    "cn-shanghai-et15-b01",
    "cn-shanghai-et2-b01",
    "cn-shanghai-inner",
    "cn-shanghai-internal-test-1",
    "cn-shenzhen-inner",
    "cn-shenzhen-st4-d01",
    "cn-shenzhen-su18-b01",
    "cn-wuhan",
    "cn-yushanfang",
    "cn-zhangbei",
    "cn-zhangbei-na61-b01",
    "cn-zhangjiakou-na62-a01",
    "cn-zhengzhou-nebula-1",
    "eu-west-1-oxs",
    "rus-west-1-pop",
];

/// Maximum number of mistakes in a region that is known otherwise.
const MAX_DISTANCE: usize = 2;

/// Returns `true` if the endpoint of a region is the global one.
pub(crate) fn is_global(region: &str) -> bool {
    GLOBAL.contains(&region)
}

/// Returns `true` for a region that this version knows. A newer region works as well.
#[must_use]
pub fn is_known_region(region: &str) -> bool {
    KNOWN.contains(&region) || is_global(region)
}

/// Returns the known region that is nearest to a text: at most two letters are wrong, missing or too
/// many, or the country is missing.
#[must_use]
pub fn similar_region(text: &str) -> Option<&'static str> {
    let distance = |known: &str| match known.strip_suffix(text) {
        Some(country) if country.ends_with('-') => 0,
        _ => strsim::damerau_levenshtein(known, text),
    };
    let all = KNOWN.iter().map(|it| (distance(it), *it));
    let nearest = all.min_by_key(|(distance, _)| *distance);
    nearest
        .filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_region_has_a_similar_one() {
        let check = |text, known, similar| {
            assert_eq!(is_known_region(text), known, "{text}");
            assert_eq!(similar_region(text), similar, "{text}");
        };
        check("cn-hongkong", true, Some("cn-hongkong"));
        check("cn-hongkon", false, Some("cn-hongkong"));
        check("cn-hangzhou1", false, Some("cn-hangzhou"));
        check("cn-hangzou", false, Some("cn-hangzhou"));
        check("hangzhou", false, Some("cn-hangzhou"));
        check("xx-moon-1", false, None);
        check("c", false, None);
        assert!(is_known_region("cn-beijing-gov-1"));
    }

    #[test]
    fn regions_are_sorted_and_listed_once() {
        assert!(KNOWN.is_sorted_by(|a, b| a < b));
        assert!(GLOBAL.is_sorted_by(|a, b| a < b));
    }
}
